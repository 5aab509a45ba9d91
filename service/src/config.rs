//! Reading a process's configuration: defaults, then a TOML file, then the environment; once, whole, at the start.
//!
//! Environment variables are `PINSTRIPE__SECTION__KEY`. The double underscore keeps clear of the variables that
//! orchestrators inject for services by name.

mod list;

use std::path::Path;

use config::{Config, Environment, File, FileFormat};
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
    let environment = Environment::with_prefix(ENV_PREFIX)
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true)
        .source(Some(variables.into_iter().collect()));
    let tree: T = builder.add_source(environment).build()?.try_deserialize()?;
    let problems = tree.problems();
    if problems.is_empty() { Ok(tree) } else { Err(ConfigError::Invalid(problems)) }
}

/// The variables of this process that [`load`] looks at.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect()
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, time::Duration};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Tree {
        name: String,
        limits: Limits,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Limits {
        bodies_max: u32,
        #[serde(with = "humantime_serde")]
        idle: Duration,
    }

    impl Default for Tree {
        fn default() -> Self {
            Self { name: "a".into(), limits: Limits::default() }
        }
    }

    impl Default for Limits {
        fn default() -> Self {
            Self { bodies_max: 4, idle: Duration::from_secs(3) }
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
        assert_eq!(
            tree,
            Tree { name: "b".into(), limits: Limits { bodies_max: 7, idle: Duration::from_secs(9) } }
        );
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
