//! `pinstripe recover`: a network's metadata from what its nodes hold. Needs the database and the network's key, no gateway.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use client::{Timeouts, Transport};
use protocol::api::NodeList;
use recover::{Config, Parts, Recovery, Summary};
use service::{clock::Clock, dice::Dice, secrets::read_network_key, signer::Signer};
use store::{Db, DbOptions};

use crate::{database::DatabaseArgs, output};

/// Statements over all that was found take longer than those of gateways.
const STATEMENT_MAX: Duration = Duration::from_hours(2);
/// Segments that could not be read and roots with missing blocks that are shown.
const SHOWN_MAX: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// File with the network's secret key, 64 hex digits
    #[arg(long, required_unless_present = "nothing_is_missing")]
    network_key: Option<PathBuf>,
    /// URL of a node; those that the database knows are asked anyway
    #[arg(long = "node")]
    nodes: Vec<String>,
    /// File with the URL of one node a line, or with the JSON of `GET /v1/nodes`
    #[arg(long = "nodes")]
    file: Option<PathBuf>,
    /// URL of a node that is not to be asked, though the database knows it: one that is gone for good, or not to be trusted
    #[arg(long, value_name = "URL")]
    without: Vec<String>,
    /// Only show what nodes hold and the database does not know
    #[arg(long)]
    dry_run: bool,
    /// Recover nothing: say that the database lacks nothing, so that things are collected again
    #[arg(long, conflicts_with_all = ["nodes", "file", "dry_run"])]
    nothing_is_missing: bool,
}

/// `pinstripe recover`.
pub(crate) async fn run(args: RecoverArgs) -> anyhow::Result<ExitCode> {
    let mut options = args.database.options()?;
    options.config.statement_max = STATEMENT_MAX;
    options.config.call_max = STATEMENT_MAX * 2;
    let db = Db::open(&options).await.context("open the database")?;
    if !args.dry_run {
        db.migrate().await.context("migrate the database")?;
    }
    if args.nothing_is_missing {
        db.release_collection(Clock::System.now()).await?;
        output::tell("monitors collect again what the database does not know");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(key) = &args.network_key else { bail!("--network-key is needed") };
    let key = read_network_key(key).context("--network-key")?.value;
    let mut urls = args.nodes.clone();
    if let Some(file) = &args.file {
        urls.extend(urls_in(file)?);
    }
    let (clock, dice) = (Clock::System, Dice::System);
    let recovery = Recovery::new(Parts {
        db: db.clone(),
        transport: Transport::http(Timeouts::default())?,
        signer: Signer::new(key, clock.clone(), dice.clone()),
        clock,
        dice,
        config: Config {
            without: args.without.iter().map(|url| url.trim_end_matches('/').to_string()).collect(),
            ..Config::default()
        },
    });
    let tell = |line: &str| output::tell(line);
    let summary = if args.dry_run {
        let dir = std::env::temp_dir().join(format!("pinstripe-recover-{}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let outcome = look(&recovery, &dir, &urls, &tell).await;
        std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
        outcome?
    } else {
        recovery.run(&urls, &tell).await?
    };
    db.close().await;
    show(&summary, args.dry_run)?;
    Ok(if summary.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is found goes into a file of its own, for it may be more than fits into memory.
async fn look(
    recovery: &Recovery,
    dir: &Path,
    urls: &[String],
    tell: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Summary> {
    let mut options = DbOptions::new(format!("sqlite://{}", dir.join("found.db").display()));
    options.durable = false;
    let scratch = Db::open(&options).await?;
    scratch.migrate().await?;
    let summary = recovery.look(&scratch, urls, tell).await;
    scratch.close().await;
    summary
}

fn show(summary: &Summary, is_look: bool) -> anyhow::Result<()> {
    output::line(summary.line())?;
    for (url, why) in &summary.absent {
        output::line(format_args!("no inventory: {url}: {why}"))?;
    }
    for segment in summary.unreadable.iter().take(SHOWN_MAX) {
        let (id, found, needed) = (segment.segment, segment.found, segment.needed);
        output::line(format_args!("unreadable: segment {id}: {found} pieces found, {needed} needed"))?;
    }
    for root in summary.incomplete.iter().take(SHOWN_MAX) {
        output::line(format_args!("incomplete: {root}"))?;
    }
    if !summary.released && !is_look {
        output::line(
            "nothing is collected yet: run this again with the nodes that are missing, or, if what is missing is lost, with \
             --nothing-is-missing",
        )?;
    }
    Ok(())
}

/// The URLs in a file: one a line, or a list of nodes as gateways give it.
fn urls_in(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    if text.trim_start().starts_with('{') {
        let list: NodeList =
            serde_json::from_str(&text).with_context(|| format!("{} is no list of nodes", file.display()))?;
        return Ok(list.nodes.into_iter().map(|node| node.url).collect());
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn nodes_are_lines_or_a_list() {
        let mut lines = tempfile::NamedTempFile::new().unwrap();
        lines.write_all(b"# ours\nhttp://one:1\n\n http://two:2 \n").unwrap();
        assert_eq!(urls_in(lines.path()).unwrap(), ["http://one:1", "http://two:2"]);
        let mut list = tempfile::NamedTempFile::new().unwrap();
        list.write_all(br#"{"nodes": [], "regions": {}}"#).unwrap();
        assert_eq!(urls_in(list.path()).unwrap(), Vec::<String>::new());
        list.write_all(b"more").unwrap();
        assert!(urls_in(list.path()).is_err());
    }
}
