//! `pinstripe config`: what a process would be configured with, and everything that is wrong with it. No secret is shown.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde::{Serialize, de::DeserializeOwned};
use service::config::{Validate, environment, examine, load};
use toml::{Table, Value};

use crate::output;

/// What stands in the place of a secret.
const REDACTED: &str = "REDACTED";
/// Keys whose values are secrets as a whole.
const SECRET_KEYS: [&str; 1] = ["invite"];

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration that a process would run with, as TOML; secrets are left out
    Print(ConfigArgs),
    /// List everything that is wrong with a configuration and with the files that it names
    Check(ConfigArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Whose configuration it is
    process: Process,
    /// Configuration file (TOML); `PINSTRIPE__SECTION__KEY` variables win over it
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Process {
    Gateway,
    Monitor,
    Pinner,
}

pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Print(args) => match args.process {
            Process::Gateway => print::<gateway::Config>(args),
            Process::Monitor => print::<monitor::Config>(args),
            Process::Pinner => print::<pinner::Config>(args),
        },
        ConfigCommand::Check(args) => match args.process {
            Process::Gateway => check(args, gateway::file_problems),
            Process::Monitor => check(args, monitor::file_problems),
            Process::Pinner => check(args, pinner::file_problems),
        },
    }
}

fn print<T>(args: &ConfigArgs) -> anyhow::Result<ExitCode>
where
    T: Default + Serialize + DeserializeOwned + Validate,
{
    let config: T = load(args.config.as_deref(), environment())?;
    let mut table = Table::try_from(&config).context("write the configuration")?;
    redact(&mut table);
    output::line(toml::to_string(&table).context("write the configuration")?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn check<T>(args: &ConfigArgs, file_problems: fn(&T) -> Vec<String>) -> anyhow::Result<ExitCode>
where
    T: Default + Serialize + DeserializeOwned + Validate,
{
    let (config, mut problems) = examine::<T>(args.config.as_deref(), environment())?;
    problems.extend(file_problems(&config));
    if problems.is_empty() {
        output::tell("the configuration is usable");
        return Ok(ExitCode::SUCCESS);
    }
    output::complain(format_args!("the configuration is not usable:\n  - {}", problems.join("\n  - ")));
    Ok(ExitCode::FAILURE)
}

/// Takes secrets out of a configuration: values that are secrets, and passwords in URLs.
fn redact(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        match value {
            Value::String(text) if SECRET_KEYS.contains(&key.as_str()) && !text.is_empty() => {
                *text = REDACTED.into();
            }
            _ => redact_urls(value),
        }
    }
}

fn redact_urls(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_password(text),
        Value::Array(values) => values.iter_mut().for_each(redact_urls),
        Value::Table(table) => redact(table),
        _ => {}
    }
}

/// The same URL without what is secret in it: the password before the host, and values of a query that are called so.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_string() };
    // A password may hold slashes and question marks that somebody forgot to escape: it ends at the last @.
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    let user = user.map_or(String::new(), |user| match user.split_once(':') {
        Some((name, _)) => format!("{name}:{REDACTED}@"),
        None => format!("{user}@"),
    });
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let query = query.map(|query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={REDACTED}"),
            _ => pair.to_string(),
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{user}{rest}{}", query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        for (url, shown) in [
            ("sqlite://pinstripe.db", "sqlite://pinstripe.db"),
            ("postgres://ann@db/x", "postgres://ann@db/x"),
            (
                "postgres://ann:s3cret@db:5432/x?sslmode=require",
                "postgres://ann:REDACTED@db:5432/x?sslmode=require",
            ),
            ("postgres://ann:s3/cr@t@db/x", "postgres://ann:REDACTED@db/x"),
            ("postgres://db/x?user=ann&password=s3cret", "postgres://db/x?user=ann&password=REDACTED"),
            ("rediss://:s3cret@redis/0", "rediss://:REDACTED@redis/0"),
            ("no url", "no url"),
        ] {
            assert_eq!(without_password(url), shown);
        }
        let gateways = vec!["http://ann:s3cret@a".into(), "http://b".into()];
        let config = pinner::Config { invite: "inv_s3cret".into(), gateways, ..pinner::Config::default() };
        let mut table = Table::try_from(&config).unwrap();
        redact(&mut table);
        let text = toml::to_string(&table).unwrap();
        assert!(!text.contains("s3cret") && text.contains("invite = \"REDACTED\""), "{text}");
    }
}
