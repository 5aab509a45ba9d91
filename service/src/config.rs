//! Reading a process's configuration: defaults, then a TOML file, then the environment; once, whole, at the start.
//!
//! Environment variables are `PINSTRIPE__SECTION__KEY`. The double underscore keeps clear of the variables that
//! orchestrators inject for services by name.

mod list;

use std::path::Path;

use config::{Config, Environment, File, FileFormat};
use protocol::rules::InvalidRules;
use serde::{Serialize, de::DeserializeOwned};

pub use list::one_or_many;

/// The prefix of every environment variable that is read.
pub const ENV_PREFIX: &str = "PINSTRIPE";

/// A configuration tree that can say what is wrong with it.
pub trait Validate {
    /// Every problem found, each naming its key; empty when the tree is usable.
    fn problems(&self) -> Vec<String>;
}

/// Why a configuration was not accepted. The text lists every problem.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is missing or unreadable, a key is unknown, or a value does not fit its key.
    #[error("configuration: {0}")]
    Read(#[from] config::ConfigError),
    /// The values do not make sense.
    #[error("configuration is not usable:\n  - {}", .0.join("\n  - "))]
    Invalid(Vec<String>),
}

/// Reads `T` from its defaults, an optional TOML file and `variables` (name, value), and validates it.
pub fn load<T>(file: Option<&Path>, variables: Vec<(String, String)>) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned + Validate,
{
    let mut builder = Config::builder().add_source(Config::try_from(&T::default())?);
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml).required(true));
    }
    // Without `try_parsing`: it makes a number of every text that looks like one, so that the key "0123" is read as "123"
    // and "1e3" as "1000". What a text means is known only where it is put: there it is parsed.
    let environment = Environment::with_prefix(ENV_PREFIX)
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.into_iter().collect()));
    let tree: T = builder.add_source(environment).build()?.try_deserialize()?;
    let problems = tree.problems();
    if problems.is_empty() { Ok(tree) } else { Err(ConfigError::Invalid(problems)) }
}

/// The problems of rules that live in `protocol`, each naming its section.
pub fn rule_problems(section: &str, outcome: Result<(), InvalidRules>) -> Vec<String> {
    let Err(error) = outcome else { return Vec::new() };
    error.problems().iter().map(|problem| format!("{section}: {problem}")).collect()
}

/// The variables of this process that [`load`] looks at.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect()
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::SocketAddr, time::Duration};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Tree {
        name: String,
        nick: Option<String>,
        limits: Limits,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Limits {
        bodies_max: u32,
        bytes_max: u64,
        share: f64,
        eagerly: bool,
        mode: Mode,
        listen: SocketAddr,
        #[serde(with = "humantime_serde")]
        idle: Duration,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Slow,
        Fast,
    }

    impl Default for Tree {
        fn default() -> Self {
            Self { name: "a".into(), nick: None, limits: Limits::default() }
        }
    }

    impl Default for Limits {
        fn default() -> Self {
            Self {
                bodies_max: 4,
                bytes_max: 9,
                share: 0.5,
                eagerly: false,
                mode: Mode::Slow,
                listen: "127.0.0.1:1".parse().unwrap(),
                idle: Duration::from_secs(3),
            }
        }
    }

    impl Validate for Tree {
        fn problems(&self) -> Vec<String> {
            let mut problems = Vec::new();
            if self.limits.bodies_max == 0 {
                problems.push("limits.bodies_max: must be at least 1".into());
            }
            if self.name.is_empty() {
                problems.push("name: must not be empty".into());
            }
            problems
        }
    }

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn environment_wins_over_file_and_file_over_defaults() {
        let file = file("name = \"b\"\n[limits]\nbodies_max = 7\n");
        let tree: Tree = load(
            Some(file.path()),
            variables(&[("PINSTRIPE__LIMITS__IDLE", "9s"), ("PINSTRIPE_PORT", "tcp://x")]),
        )
        .unwrap();
        let limits = Limits { bodies_max: 7, idle: Duration::from_secs(9), ..Limits::default() };
        assert_eq!(tree, Tree { name: "b".into(), nick: None, limits });
    }

    #[test]
    fn texts_from_the_environment_stay_what_they_are_and_other_values_are_parsed() {
        for text in
            ["0123", "00", "1e3", "+7", "-0", "0x10", "1_000", "TRUE", "false", "no", "1.50", "inf", " a "]
        {
            let tree: Tree = load(None, variables(&[("PINSTRIPE__NAME", text)])).unwrap();
            assert_eq!(tree.name, text);
            let tree: Tree = load(None, variables(&[("PINSTRIPE__NICK", text)])).unwrap();
            assert_eq!(tree.nick.as_deref(), Some(text));
        }
        let values = [
            ("PINSTRIPE__LIMITS__BODIES_MAX", "0012"),
            ("PINSTRIPE__LIMITS__BYTES_MAX", "18446744073709551615"),
            ("PINSTRIPE__LIMITS__SHARE", "0.25"),
            ("PINSTRIPE__LIMITS__EAGERLY", "true"),
            ("PINSTRIPE__LIMITS__MODE", "fast"),
            ("PINSTRIPE__LIMITS__LISTEN", "0.0.0.0:80"),
        ];
        let limits = load::<Tree>(None, variables(&values)).unwrap().limits;
        let expected = Limits {
            bodies_max: 12,
            bytes_max: u64::MAX,
            share: 0.25,
            eagerly: true,
            mode: Mode::Fast,
            listen: "0.0.0.0:80".parse().unwrap(),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        for (name, wrong) in
            [("BODIES_MAX", "-1"), ("BODIES_MAX", "4294967296"), ("SHARE", "half"), ("MODE", "7")]
        {
            let name = format!("PINSTRIPE__LIMITS__{name}");
            assert!(load::<Tree>(None, vec![(name.clone(), wrong.into())]).is_err(), "{name} = {wrong}");
        }
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_refused_by_name() {
        let error = load::<Tree>(Some(file("nmae = \"b\"").path()), vec![]).unwrap_err().to_string();
        assert!(error.contains("nmae"), "{error}");
        let error = load::<Tree>(None, variables(&[("PINSTRIPE__LIMITS__BODIES_MAX", "many")])).unwrap_err();
        assert!(error.to_string().contains("bodies_max"), "{error}");
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        let error =
            load::<Tree>(Some(file("name = \"\"\n[limits]\nbodies_max = 0\n").path()), vec![]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("limits.bodies_max") && text.contains("name:"), "{text}");
    }
}
