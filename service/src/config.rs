//! Reading a process's configuration: defaults, then a TOML file, then the environment; whole, at the start, and again for
//! what can change (`reload`).
//!
//! Environment variables are `PINSTRIPE__SECTION__KEY`. The double underscore keeps clear of the variables that
//! orchestrators inject for services by name.

mod list;
pub mod reload;

use std::path::Path;

use config::{Config, Environment, File, FileFormat, Map, Source as _, Value, ValueKind};
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
    /// A file is missing, unreadable or no TOML.
    #[error("configuration: {0}")]
    Read(#[from] config::ConfigError),
    /// Keys are unknown, values do not fit their keys, or do not make sense.
    #[error("configuration is not usable:\n  - {}", .0.join("\n  - "))]
    Invalid(Vec<String>),
}

/// Reads `T` from its defaults, an optional TOML file and `variables` (name, value), and validates it.
pub fn load<T>(file: Option<&Path>, variables: Vec<(String, String)>) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned + Validate,
{
    let (tree, problems) = examine(file, variables)?;
    if problems.is_empty() { Ok(tree) } else { Err(ConfigError::Invalid(problems)) }
}

/// The same tree, with the default for each value that does not fit, and every problem there is, each naming its key.
pub fn examine<T>(
    file: Option<&Path>,
    variables: Vec<(String, String)>,
) -> Result<(T, Vec<String>), ConfigError>
where
    T: Default + Serialize + DeserializeOwned + Validate,
{
    let mut given = Config::builder();
    if let Some(path) = file {
        given = given.add_source(File::from(path).format(FileFormat::Toml).required(true));
    }
    // Without `try_parsing`: it makes a number of every text that looks like one, so that the key "0123" is read as "123"
    // and "1e3" as "1000". What a text means is known only where it is put: there it is parsed.
    let environment = Environment::with_prefix(ENV_PREFIX)
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.into_iter().collect()));
    let given = given.add_source(environment).build()?;
    let defaults = Config::try_from(&T::default())?;
    let whole = Config::builder().add_source(defaults.clone()).add_source(given.clone()).build()?;
    let (tree, mut problems): (T, Vec<String>) = match whole.try_deserialize() {
        Ok(tree) => (tree, Vec::new()),
        // Which tells of the first problem only.
        Err(_) => one_by_one(&defaults, &given)?,
    };
    problems.extend(tree.problems());
    Ok((tree, problems))
}

/// Tries each value by itself among the defaults; gives the tree of those that fit, and what is wrong with the others.
fn one_by_one<T: DeserializeOwned>(
    defaults: &Config,
    given: &Config,
) -> Result<(T, Vec<String>), config::ConfigError> {
    let (mut values, mut problems) = (Vec::new(), Vec::new());
    find_values(&defaults.collect()?, &given.collect()?, "", &mut values, &mut problems);
    let mut fitting = Config::builder().add_source(defaults.clone());
    for (key, value) in values {
        let alone = Config::builder().add_source(defaults.clone()).set_override(&key, value.clone())?;
        match alone.build()?.try_deserialize::<T>() {
            Ok(_) => fitting = fitting.set_override(&key, value)?,
            Err(error) => problems.push(match error.to_string() {
                text if text.contains("unknown field") => format!("{key}: there is no such key"),
                text => format!("{key}: {text}"),
            }),
        }
    }
    Ok((fitting.build()?.try_deserialize()?, problems))
}

/// All values that are given, each with its whole key. Lists that are empty by default are not among the defaults, so whether a
/// key is there at all shows when its value is tried.
fn find_values(
    known: &Map<String, Value>,
    given: &Map<String, Value>,
    section: &str,
    values: &mut Vec<(String, Value)>,
    problems: &mut Vec<String>,
) {
    // In order, for whoever compares two lists.
    let mut names: Vec<&String> = given.keys().collect();
    names.sort();
    for name in names {
        let key = format!("{section}{name}");
        match (known.get(name).map(|known| &known.kind), &given[name].kind) {
            (Some(ValueKind::Table(known)), ValueKind::Table(given)) => {
                find_values(known, given, &format!("{key}."), values, problems);
            }
            (Some(ValueKind::Table(_)), _) => problems.push(format!("{key}: is a section, not a value")),
            _ => values.push((key, given[name].clone())),
        }
    }
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
        #[serde(deserialize_with = "one_or_many")]
        hosts: Vec<String>,
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
            Self { name: "a".into(), nick: None, hosts: Vec::new(), limits: Limits::default() }
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
        assert_eq!(tree, Tree { name: "b".into(), limits, ..Tree::default() });
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
    fn values_of_wrong_types_and_unknown_keys_are_all_listed() {
        let file = file(
            "nmae = 1\nname = \"\"\nnick = [1]\nmore = { a = 1 }\n[limits]\nbodies_max = \"many\"\nidle = 3\nshare = 0.25\n[extra]\nb = 2\n",
        );
        let given = variables(&[
            ("PINSTRIPE__LIMITS__BYTES_MAX", "-1"),
            ("PINSTRIPE__LIMITS__MODE", "quick"),
            ("PINSTRIPE__LIMITS__IDEL", "1s"),
        ]);
        let (tree, problems) = examine::<Tree>(Some(file.path()), given).unwrap();
        let wrong = [
            "nmae",
            "name",
            "nick",
            "more",
            "extra",
            "limits.bodies_max",
            "limits.idle",
            "limits.bytes_max",
            "limits.mode",
            "limits.idel",
        ];
        for key in wrong {
            assert!(
                problems.iter().any(|problem| problem.starts_with(&format!("{key}: "))),
                "{key}: {problems:#?}"
            );
        }
        assert_eq!(problems.len(), wrong.len(), "{problems:#?}");
        assert!((tree.limits.share - 0.25).abs() < 1e-9, "what fits is taken");
        let (_, problems) = examine::<Tree>(None, variables(&[("PINSTRIPE__LIMITS", "7")])).unwrap();
        assert_eq!(problems, ["limits: is a section, not a value"]);
    }

    #[test]
    fn what_is_empty_by_default_is_a_key_too() {
        let file = file(
            "hosts = [\"a\"]\nnick = \"b\"\nnmae = 1\n[limits]\nbodies_max = \"many\"\n[limts]\nidle = 1\n",
        );
        let (tree, problems) = examine::<Tree>(Some(file.path()), vec![]).unwrap();
        assert_eq!((tree.hosts, tree.nick.as_deref()), (vec!["a".to_string()], Some("b")));
        let named: Vec<&str> = problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
        assert_eq!(named, ["limits.bodies_max", "limts", "nmae"], "{problems:?}");
        let (tree, problems) =
            examine::<Tree>(None, variables(&[("PINSTRIPE__HOSTS", "a,b"), ("PINSTRIPE__NAME", "")]))
                .unwrap();
        assert_eq!((tree.hosts.len(), problems.len()), (2, 1), "{problems:?}");
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        let error =
            load::<Tree>(Some(file("name = \"\"\n[limits]\nbodies_max = 0\n").path()), vec![]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("limits.bodies_max") && text.contains("name:"), "{text}");
    }
}
