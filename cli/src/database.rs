//! Which database a command works on.

use std::path::PathBuf;

use clap::Args;
use store::{DatabaseConfig, DbOptions, StoreError};

/// Flags of commands that work on the database themselves.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// `sqlite://FILE` or `postgres://...`
    #[arg(
        long,
        env = "PINSTRIPE_DATABASE_URL",
        hide_env_values = true,
        required_unless_present = "database_file"
    )]
    database: Option<String>,
    /// File that holds the URL instead
    #[arg(long, env = "PINSTRIPE_DATABASE_URL_FILE", conflicts_with = "database")]
    database_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// How to open it.
    pub(crate) fn options(&self) -> Result<DbOptions, StoreError> {
        let url = self.database.as_deref().unwrap_or_default();
        DbOptions::configured(url, self.database_file.as_deref(), &DatabaseConfig::default())
    }
}
