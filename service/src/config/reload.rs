//! Configuration that changes while a process runs: the file is looked at now and then, and what can change is taken anew.
//! Everything else is named in a warning. A file that is not usable changes nothing.

use std::{collections::BTreeSet, convert::Infallible, fmt, path::PathBuf, time::Duration};

use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{ConfigError, Validate, load};
use crate::{
    job::{Job, Progress},
    watched_files::{LoadError, Reload, WatchedFiles},
};

/// How often the files are looked at; it costs a system call for each.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a configuration, or of a file that goes with it, at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a process's configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// Variables that win over it.
    pub variables: Vec<(String, String)>,
}

impl ConfigSource {
    /// Reads and validates the configuration.
    pub fn load<T>(&self) -> Result<T, ConfigError>
    where
        T: Default + Serialize + DeserializeOwned + Validate,
    {
        load(self.file.as_deref(), self.variables.clone())
    }
}

type Apply<T> = Box<dyn Fn(&T) -> anyhow::Result<()> + Send + Sync>;

/// Job: takes a configuration anew when its file changes.
pub struct ConfigReload<T> {
    source: ConfigSource,
    files: WatchedFiles,
    changeable: &'static [&'static str],
    /// What the process started with, and what of it was changed since.
    current: Mutex<T>,
    apply: Apply<T>,
}

impl<T> fmt::Debug for ConfigReload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigReload").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<T> ConfigReload<T>
where
    T: Default + Serialize + DeserializeOwned + Validate + Send,
{
    /// Watches the file of `source` and those that go `with` it. `changeable` are the sections and keys that `apply` takes
    /// from a new tree, all or none of them.
    pub fn new(
        source: ConfigSource,
        with: Vec<PathBuf>,
        started: T,
        changeable: &'static [&'static str],
        apply: impl Fn(&T) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let paths = source.file.iter().cloned().chain(with).collect();
        let files = WatchedFiles::new(paths, FILE_BYTES_MAX);
        // What is there now has just been read.
        let _ = look(&files);
        Self { source, files, changeable, current: Mutex::new(started), apply: Box::new(apply) }
    }

    /// Takes the files anew if they have changed; gives the keys that changed without having an effect before a restart.
    /// `None` when nothing has changed. Blocks.
    pub fn reload(&self) -> anyhow::Result<Option<Vec<String>>> {
        if look(&self.files)? != Reload::Loaded {
            return Ok(None);
        }
        let new: T = self.source.load()?;
        (self.apply)(&new)?;
        let mut current = self.current.lock();
        let mut changed = BTreeSet::new();
        find_changes(&serde_json::to_value(&*current)?, &serde_json::to_value(&new)?, "", &mut changed);
        *current = new;
        let takes_effect = |key: &String| {
            self.changeable.iter().any(|name| {
                key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        Ok(Some(changed.into_iter().filter(|key| !takes_effect(key)).collect()))
    }
}

/// Whether the files are others than last time. What is in them is read by those who know how.
fn look(files: &WatchedFiles) -> Result<Reload, LoadError<Infallible>> {
    files.reload(|_, _| Ok(()), |_| {})
}

/// The keys whose values differ.
fn find_changes(old: &Value, new: &Value, key: &str, changed: &mut BTreeSet<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for name in old.keys().chain(new.keys()) {
                let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                let value =
                    |tree: &serde_json::Map<String, Value>| tree.get(name).cloned().unwrap_or_default();
                find_changes(&value(old), &value(new), &below, changed);
            }
        }
        _ if old != new => drop(changed.insert(key.to_string())),
        _ => {}
    }
}

impl<T> Job for ConfigReload<T>
where
    T: Default + Serialize + DeserializeOwned + Validate + Send + 'static,
{
    const NAME: &'static str = "reload_config";

    async fn step(&self) -> anyhow::Result<Progress> {
        // Two small files, read when they have changed.
        if let Some(needs_restart) = tokio::task::block_in_place(|| self.reload())? {
            tracing::info!("took the configuration anew");
            if !needs_restart.is_empty() {
                tracing::warn!(keys = needs_restart.join(", "), "changed, but needs a restart");
            }
        }
        Ok(Progress::Idle)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Tree {
        listen: String,
        limits: Limits,
        log: Option<String>,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Limits {
        rate: u32,
        burst: u32,
    }

    impl Validate for Tree {
        fn problems(&self) -> Vec<String> {
            if self.limits.rate > 100 { vec!["limits.rate: too much".into()] } else { Vec::new() }
        }
    }

    #[test]
    fn what_can_change_does_and_the_rest_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (file, token) = (dir.path().join("a.toml"), dir.path().join("token"));
        fs::write(&file, "listen = \"a\"\n").unwrap();
        fs::write(&token, "1").unwrap();
        let variables = vec![("PINSTRIPE__LIMITS__BURST".into(), "3".into())];
        let source = ConfigSource { file: Some(file.clone()), variables };
        let applied = Arc::new(Mutex::new(Vec::new()));
        let apply = {
            let (applied, token) = (applied.clone(), token.clone());
            move |tree: &Tree| {
                let token = fs::read_to_string(&token)?;
                applied.lock().push((tree.limits.rate, tree.limits.burst, token));
                Ok(())
            }
        };
        let started = source.load().unwrap();
        let reload =
            ConfigReload::<Tree>::new(source, vec![token.clone()], started, &["limits", "log"], apply);
        let look = || reload.reload().map_err(|error| error.to_string());
        assert_eq!(look(), Ok(None), "nothing has changed since the start");
        fs::write(&file, "listen = \"bb\"\nlog = \"debug\"\n[limits]\nrate = 7\n").unwrap();
        assert_eq!(look(), Ok(Some(vec!["listen".into()])));
        assert_eq!(look(), Ok(None));
        fs::write(&token, "22").unwrap();
        assert_eq!(look(), Ok(Some(vec![])), "told once");
        let taken = vec![(7, 3, "1".to_string()), (7, 3, "22".to_string())];
        assert_eq!(*applied.lock(), taken, "variables still win");
        for broken in ["listen = 1 2", "[limits]\nrate = 101", "lisen = \"x\"", "[limits]\nrate = \"many\""] {
            fs::write(&file, broken).unwrap();
            assert!(look().is_err(), "{broken}");
        }
        fs::remove_file(&file).unwrap();
        assert!(look().is_err());
        assert_eq!(*applied.lock(), taken, "nothing of it was taken");
    }
}
