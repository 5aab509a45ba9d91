//! Replacing the GeoIP database while lookups go on: a new file is read and checked aside, then swapped in whole.
//!
//! A new file that is broken, too large or missing never takes the place of a database that works.

use std::sync::Arc;

use service::job::{Job, Progress};

use super::{
    GeoIp,
    database::{self, LoadError, Seen},
};

/// What [`GeoIp::reload_if_changed`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The file is what it was, or no file is configured.
    Unchanged,
    /// The file is being written; it is looked at again next time.
    Postponed,
    /// The new database is in use.
    Loaded,
}

impl GeoIp {
    /// Loads the database's file if it is another than last time, blocking while it is read; lookups go on meanwhile.
    ///
    /// On an error the old database stays in use. An error is given once; after that it is [`Reload::Unchanged`] until
    /// the file changes. A file that could not be read, rather than used, is tried again each time.
    pub fn reload_if_changed(&self) -> Result<Reload, LoadError> {
        let Some(path) = &self.0.path else { return Ok(Reload::Unchanged) };
        let mut seen = self.0.seen.lock();
        // Looked at before it is read: a change in between differs from what is noted here, and is found next time.
        let now = Seen::at(path);
        if *seen == now {
            return Ok(Reload::Unchanged);
        }
        match database::load(path, self.0.bytes_max) {
            Ok(Some((fingerprint, database))) => {
                *seen = Seen::File(fingerprint);
                self.0.current.store(Some(Arc::new(database)));
                Ok(Reload::Loaded)
            }
            Ok(None) => Ok(Reload::Postponed),
            Err(error) => {
                let after = error.seen(now);
                if *seen == after {
                    return Ok(Reload::Unchanged);
                }
                *seen = after;
                Err(error)
            }
        }
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
        metrics::counter!("geoip_reloads_total", "outcome" => outcome).increment(1);
    }

    fn report_loaded(&self) {
        let Some(database) = self.0.current.load_full() else { return };
        // Lets an operator alert on a database that nobody renews.
        metrics::gauge!("geoip_database_built_seconds").set(database.built_seconds() as f64);
        let path = self.0.path.as_deref().map(std::path::Path::display).map(tracing::field::display);
        tracing::info!(
            path,
            kind = database.kind(),
            built = database.built_seconds(),
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
