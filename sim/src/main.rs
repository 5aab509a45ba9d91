//! Replays the network of one seed: `cargo run -p sim -- --seed 7 --days 30 --trace`.

use std::process::ExitCode;

use clap::Parser;

/// A month in the life of a network, in one process.
#[derive(Parser)]
struct Args {
    /// Everything that happens follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Days with faults; four quiet ones follow.
    #[arg(long, default_value_t = 30)]
    days: u64,
    /// Print what happens.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match sim::scenario::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(sim::scenario::run(args.seed, args.days, args.trace)) {
        Ok((report, _)) => {
            println!("{report:#?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
