//! `loadtest`: measures a network of real processes on this machine, each figure beside a baseline run in the same
//! minute, and prints them as a table. It ends by itself, and the network that it started ends with it.

mod baseline;
mod cpu;
mod files;
mod load;
mod network;
mod pattern;
mod process;
mod rows;
mod table;
mod wire;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum as _};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    baseline::server::BaselineServer,
    network::Network,
    rows::{Bench, Kind, Sizes},
};

/// Nodes of the network that is started: as many as a segment has pieces.
const NODES: usize = 20;

/// Measures a network on this machine
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// What to measure, in whatever order it is given [default: everything]
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Kind>,
    /// A tenth of the sizes and one run of each: shows that everything works, measures little
    #[arg(long)]
    quick: bool,
    /// Length of the one large file that is uploaded, in GiB [default: 1]; 10 of them take 30 GB of disk for a while
    #[arg(long)]
    upload_gib: Option<u64>,
    /// Runs of each measurement, whose median counts [default: 5, with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
    /// Measure the network of this dev.json instead of one of its own; the rows dead and repair need their own
    #[arg(long)]
    dev_json: Option<PathBuf>,
    /// The program that starts a network [default: pinstripe, beside this program]
    #[arg(long)]
    pinstripe: Option<PathBuf>,
    /// Where the network is kept while it runs; on the disk to be measured [default: beside this program]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Write the table to this file, too
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Be the baseline server: started by this program itself
    #[arg(long, hide = true)]
    serve_baseline: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")
        .and_then(|runtime| runtime.block_on(run(args)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything could be measured.
async fn run(args: Args) -> anyhow::Result<bool> {
    if args.serve_baseline {
        baseline::server::serve().await?;
        return Ok(true);
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = measure(&args) => done,
        // Dropping what is under way ends the children.
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("stopped"),
    }
}

async fn measure(args: &Args) -> anyhow::Result<bool> {
    let mut kinds: Vec<Kind> = Kind::value_variants().to_vec();
    if args.dev_json.is_some() {
        kinds.retain(|kind| !kind.kills());
        if let Some(kind) = args.rows.iter().find(|kind| kind.kills()) {
            bail!("{kind:?} kills nodes, which is done only to a network of its own");
        }
    }
    if !args.rows.is_empty() {
        // In their own order: later ones leave less of the network.
        kinds.retain(|kind| args.rows.contains(kind));
    }
    let program = std::env::current_exe().context("find this program")?;
    let beside = program.parent().context("find this program's directory")?;
    let pinstripe = args.pinstripe.clone().unwrap_or_else(|| beside.join("pinstripe"));
    let parent = args.dir.clone().unwrap_or_else(|| beside.to_path_buf());
    let mut sizes = Sizes::new(args.quick, args.runs);
    if let Some(gib) = args.upload_gib {
        sizes.upload_bytes = gib.clamp(1, 1 << 20) << 30;
    }

    let network = match &args.dev_json {
        Some(path) => Network::running(path)?,
        None => Network::start(&pinstripe, &parent, NODES).await?,
    };
    let scratch = TempDir::with_prefix_in("loadtest-", &parent).context("make a directory")?;
    let server = BaselineServer::start().await?;
    let mut bench = Bench { network, server, scratch, sizes, pinstripe, parent };
    let (mut table, mut complete) = (Vec::new(), true);
    for kind in kinds {
        let started = Instant::now();
        match bench.run(kind).await {
            Ok(rows) => {
                for row in &rows {
                    eprintln!("{}: {} [{}] {}", row.name, row.measured, row.baseline, row.cpu);
                }
                table.extend(rows);
            }
            Err(error) => {
                complete = false;
                eprintln!("{kind:?}: not measured: {error:#}");
                let measured = format!("not measured: {error:#}");
                table.push(table::Row { name: format!("{kind:?}"), measured, ..table::Row::default() });
            }
        }
        eprintln!("  ({kind:?} took {:.1} s)", started.elapsed().as_secs_f64());
    }
    bench.end().await;
    let text = table::markdown(&table);
    println!("{text}");
    if let Some(path) = &args.markdown {
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(complete)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Args::command().debug_assert();
    }
}
