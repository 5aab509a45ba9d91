//! Replacing the GeoIP database while lookups go on: a new file is read and checked aside, then swapped in whole.
//!
//! A new file that is broken, too large or missing never takes the place of a database that works.

use std::sync::Arc;

use service::{
    job::{Job, Progress},
    watched_files::{LoadError, Reload},
};

use super::{
    GeoIp,
    database::{Database, DatabaseError},
};

impl GeoIp {
    /// Loads the database's file if it is another than last time, blocking while it is read; lookups go on meanwhile.
    ///
    /// On an error the old database stays in use: see [`WatchedFiles::reload`](service::watched_files::WatchedFiles::reload).
    pub fn reload_if_changed(&self) -> Result<Reload, LoadError<DatabaseError>> {
        let current = &self.0.current;
        self.0.file.reload(
            |_, bytes| Database::from_bytes(bytes),
            |mut databases| current.store(databases.pop().map(Arc::new)),
        )
    }

    /// Reloads, and tells log and metrics what came of it.
    pub(super) fn reload_and_report(&self) {
        let outcome = match self.reload_if_changed() {
            Ok(Reload::Unchanged) => return,
            Ok(Reload::Postponed) => "postponed",
            Ok(Reload::Loaded) => {
                self.report_loaded();
                "loaded"
            }
            Err(error) => {
                let kept = self.is_loaded();
                tracing::error!(%error, kept, "geoip database not loaded");
                "refused"
            }
        };
        metrics::counter!("pinstripe_geoip_reloads_total", "outcome" => outcome).increment(1);
    }

    fn report_loaded(&self) {
        let Some(database) = self.0.current.load_full() else { return };
        // Lets an operator alert on a database that nobody renews.
        metrics::gauge!("pinstripe_geoip_database_built_timestamp_seconds")
            .set(database.built_seconds() as f64);
        let path = self.0.file.paths().first().map(|path| tracing::field::display(path.display()));
        tracing::info!(
            path,
            kind = database.kind(),
            built_seconds = database.built_seconds(),
            "geoip database loaded"
        );
    }
}

/// The job that keeps the database fresh; run it every [`GeoIpConfig::reload_every`](super::GeoIpConfig::reload_every).
pub struct GeoIpReload(GeoIp);

impl GeoIpReload {
    /// A job for this database.
    pub fn new(geoip: GeoIp) -> Self {
        Self(geoip)
    }
}

impl Job for GeoIpReload {
    const NAME: &'static str = "geoip_reload";

    /// Looks once. A refused file is reported here and is no failure of the job, which would log it at every step.
    async fn step(&self) -> anyhow::Result<Progress> {
        let geoip = self.0.clone();
        tokio::task::spawn_blocking(move || geoip.reload_and_report()).await?;
        Ok(Progress::Idle)
    }
}
