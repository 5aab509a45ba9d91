//! `pinstripe`: the one binary. Server processes, the network on one machine, and the commands of users and operators.

mod commands;
mod database;
mod descriptors;
mod dev;
mod endpoint;
mod memory;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "pinstripe",
    version,
    about = "A content-addressed storage network",
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole network on this machine
    Dev(dev::DevArgs),
    /// Run a gateway
    Gateway(commands::serve::ServeArgs),
    /// Run a storage node
    Pinner(commands::serve::PinnerArgs),
    /// Run a monitor
    Monitor(commands::serve::ServeArgs),
    /// Print or check a configuration
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Bring a database's schema up to date
    Migrate(commands::serve::MigrateArgs),
    /// Rebuild a lost or older database from what the nodes hold
    Recover(commands::recover::RecoverArgs),
    /// Upload a file or a directory and print its CID
    Add(commands::files::AddArgs),
    /// Read a CID, or a path below it, to a file or to standard output
    Get(commands::files::GetArgs),
    /// List your files
    Ls(commands::files::LsArgs),
    /// Unpin a file
    Rm(commands::files::CidArgs),
    /// Show how many losses a file still stands
    Health(commands::files::CidArgs),
    /// Show how the network is: 0 when nothing needs anybody, 1 when somebody should look, 2 when nobody could be asked
    Status(commands::status::StatusArgs),
    /// Nodes: list them, see what one earned
    #[command(subcommand)]
    Node(commands::nodes::NodeCommand),
    /// Accounts, keys, invitations and events, for whoever holds the admin token
    #[command(subcommand)]
    Admin(commands::admin::AdminCommand),
}

fn main() -> ExitCode {
    memory::keep_little();
    descriptors::take_all();
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Gateway(args) => commands::serve::gateway(&args),
        Command::Pinner(args) => commands::serve::pinner(args),
        Command::Monitor(args) => commands::serve::monitor(&args),
        Command::Config(command) => commands::config::run(&command),
        Command::Migrate(args) => commands::serve::migrate(args),
        Command::Recover(args) => on_runtime(commands::recover::run(args)),
        Command::Dev(args) => on_runtime(dev::run(args)),
        Command::Add(args) => on_runtime(commands::files::add(args)),
        Command::Get(args) => on_runtime(commands::files::get(args)),
        Command::Ls(args) => on_runtime(commands::files::ls(args)),
        Command::Rm(args) => on_runtime(commands::files::rm(args)),
        Command::Health(args) => on_runtime(commands::files::health(args)),
        Command::Status(args) => on_runtime(commands::status::run(args)),
        Command::Node(command) => on_runtime(commands::nodes::run(command)),
        Command::Admin(command) => on_runtime(commands::admin::run(command)),
    };
    outcome.unwrap_or_else(|error| {
        if matches!(error.downcast_ref(), Some(output::OutputError::ReaderGone)) {
            return ExitCode::from(output::READER_GONE_STATUS);
        }
        output::complain(format_args!("pinstripe: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Runs a command of the command line.
fn on_runtime(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(task)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
