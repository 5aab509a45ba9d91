//! GeoIP: where a reader is, told from its address by a MaxMind DB file that may be replaced while we run.
//!
//! It never decides who serves a reader, never asks anybody over the network and never sees headers: the caller passes
//! the client's own address. Without a database every answer is "unknown". Next in the flow: `geoip/record.rs`.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwapOption;
use protocol::region::Place;
use service::watched_files::WatchedFiles;

mod config;
mod database;
mod dev_database;
mod nearest;
mod record;
mod reload;

pub use config::GeoIpConfig;
pub use database::DatabaseError;
pub use dev_database::{DEV_REGIONS_MAX, WriteDatabaseError, dev_ranges, write_dev_database};
pub use reload::GeoIpReload;

use database::Database;
use nearest::NearestRegion;

/// Looks places up by address. A cheap handle: clones share one database and see its replacement at once.
#[derive(Clone)]
pub struct GeoIp(Arc<Inner>);

struct Inner {
    // The configured file, or none.
    file: WatchedFiles,
    // Readers take a snapshot without waiting; a reload swaps the whole database, so nobody sees half of two.
    current: ArcSwapOption<Database>,
    nearest: NearestRegion,
}

impl GeoIp {
    /// Opens the configured database, blocking while the file is read.
    ///
    /// This cannot fail: without a usable file it starts with no database, says so in the log, and [`GeoIpReload`] picks
    /// the file up when it appears. Losing the database costs nearness only, so it must not keep a gateway down.
    pub fn open(config: &GeoIpConfig) -> Self {
        let geoip = Self(Arc::new(Inner {
            file: WatchedFiles::new(config.path.iter().cloned().collect(), config.bytes_max),
            current: ArcSwapOption::empty(),
            nearest: NearestRegion::new(),
        }));
        geoip.reload_and_report();
        geoip
    }

    /// Where this address is: `None` when there is no database or it does not say.
    ///
    /// The region is that of the country, else of the continent, else the one nearest to the coordinates. An IPv4 address
    /// written as IPv6 (`::ffff:a.b.c.d`) counts as IPv4. Private addresses are unknown unless the database lists them.
    pub fn lookup(&self, ip: IpAddr) -> Option<Place> {
        let database = self.0.current.load();
        let place = database.as_ref()?.place(ip.to_canonical(), &self.0.nearest);
        place.unwrap_or_else(|_| {
            // Counted and not logged: one bad record may be hit by every request of a network.
            metrics::counter!("pinstripe_geoip_record_errors_total").increment(1);
            None
        })
    }

    /// Whether a database is loaded.
    pub fn is_loaded(&self) -> bool {
        self.0.current.load().is_some()
    }
}

#[cfg(test)]
mod tests;
