//! The server processes: read the configuration, start logs, run.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use service::{
    config::{environment, reload::ConfigSource},
    lifecycle::abort_on_panic,
    telemetry::start_logs,
};
use store::Db;

use crate::{database::DatabaseArgs, output::tell};

/// Flags of a gateway or a monitor.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file (TOML); `PINSTRIPE__SECTION__KEY` variables win over it
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Flags of a storage node: enough to run one without a file.
#[derive(Debug, Args)]
pub(crate) struct PinnerArgs {
    /// Configuration file (TOML); `PINSTRIPE__SECTION__KEY` variables win over it
    #[arg(long)]
    config: Option<PathBuf>,
    /// Gateway of the network to join
    #[arg(long)]
    gateway: Option<String>,
    /// Invitation of the network, needed the first time
    #[arg(long)]
    invite: Option<String>,
    /// URL under which the world reaches this node
    #[arg(long)]
    url: Option<String>,
    /// Address to listen on
    #[arg(long)]
    listen: Option<String>,
    /// Directory for identity and pieces
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Space to offer, such as "2 TB"
    #[arg(long)]
    capacity: Option<String>,
}

/// Flags of `pinstripe migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Change nothing: print what is to be done, and end with status 1 if that is anything
    #[arg(long)]
    check: bool,
}

/// One thread for HTTP and one for the disk suffices for a small machine; more are used where there are more cores.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

pub(crate) fn gateway(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let source = ConfigSource { file: args.config.clone(), variables: environment() };
    let config: gateway::Config = source.load()?;
    start_logs(&config.log)?;
    abort_on_panic();
    runtime()?.block_on(gateway::run(source, config))
}

pub(crate) fn monitor(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let source = ConfigSource { file: args.config.clone(), variables: environment() };
    let config: monitor::Config = source.load()?;
    start_logs(&config.log)?;
    abort_on_panic();
    runtime()?.block_on(monitor::run(source, config))
}

pub(crate) fn pinner(args: PinnerArgs) -> anyhow::Result<ExitCode> {
    let flags = [
        ("GATEWAYS", args.gateway),
        ("INVITE", args.invite),
        ("URL", args.url),
        ("LISTEN", args.listen),
        ("DATA_DIR", args.data_dir.map(|dir| dir.display().to_string())),
        ("CAPACITY", args.capacity),
    ];
    // Flags are the strongest variables.
    let mut variables = environment();
    for (key, value) in flags {
        if let Some(value) = value {
            let name = format!("{}__{key}", service::config::ENV_PREFIX);
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
    }
    let source = ConfigSource { file: args.config, variables };
    let config: pinner::Config = source.load()?;
    start_logs(&config.log)?;
    abort_on_panic();
    runtime()?.block_on(pinner::run(source, config))
}

pub(crate) fn migrate(args: MigrateArgs) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let db = Db::open(&args.database.options()?).await.context("open the database")?;
        if !args.check {
            db.migrate().await.context("migrate the database")?;
        }
        let pending = db.pending_migrations().await.context("look at the schema")?;
        db.close().await;
        for migration in &pending {
            tell(format_args!("to be done: {:04} {}", migration.version, migration.description));
        }
        if pending.is_empty() {
            tell("schema is up to date");
            return Ok(ExitCode::SUCCESS);
        }
        Ok(ExitCode::FAILURE)
    })
}
