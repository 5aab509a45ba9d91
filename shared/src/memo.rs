//! What one gateway found out and the others may use: kept in Redis for a while. In the process alone there is no copy of it,
//! since each user has a memory of its own in front.

use std::{marker::PhantomData, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde::{Serialize, de::DeserializeOwned};

use crate::link::Link;

/// Names asked for in one question.
const NAMES_PER_QUESTION: usize = 256;
/// Values of one call that are on their way at the same time.
const PUTS_AT_ONCE: usize = 32;

/// Values of one kind, by name.
#[derive(Clone, Debug)]
pub struct Memo<T> {
    link: Option<Link>,
    kind: &'static str,
    ttl: Duration,
    values: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Memo<T> {
    /// Values that are kept for `ttl`. Without a link there are never any.
    pub fn new(link: Option<Link>, kind: &'static str, ttl: Duration) -> Self {
        Self { link, kind, ttl, values: PhantomData }
    }

    /// Whether anybody else would see what is put.
    pub fn is_shared(&self) -> bool {
        self.link.is_some()
    }

    /// What is known under each of these names, in their order. Values that this network did not put, or that another version
    /// put in a form that is not known here, are not there.
    pub async fn get(&self, names: &[String]) -> Vec<Option<T>> {
        let mut found = Vec::with_capacity(names.len());
        if let Some(link) = &self.link {
            for names in names.chunks(NAMES_PER_QUESTION) {
                match self.some(link, names).await {
                    Some(some) => found.extend(some),
                    // Once is enough to know that Redis is away.
                    None => break,
                }
            }
        }
        found.resize_with(names.len(), || None);
        found
    }

    async fn some(&self, link: &Link, names: &[String]) -> Option<Vec<Option<T>>> {
        let names: Vec<String> = names.iter().map(|name| link.name(self.kind, name)).collect();
        let mut question = redis::cmd("MGET");
        question.arg(&names);
        let values: Vec<Option<Vec<u8>>> =
            link.ask(self.kind, async |mut redis| question.query_async(&mut redis).await).await?;
        let mut values = values.into_iter();
        let read = |name: &String| {
            let value = values.next().flatten()?;
            let value = serde_json::from_slice(link.seal().open(name, &value)?);
            value
                .inspect_err(|error| tracing::debug!(%name, %error, "a value in redis is not understood"))
                .ok()
        };
        Some(names.iter().map(read).collect())
    }

    /// Puts values, in the background: what does not arrive is not missed.
    pub fn put(&self, values: Vec<(String, T)>) {
        let Some(link) = self.link.clone().filter(|_| !values.is_empty()) else { return };
        let (kind, ttl_ms) = (self.kind, u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX).max(1));
        let sealed: Vec<(String, Vec<u8>)> = values
            .iter()
            .filter_map(|(name, value)| {
                let name = link.name(kind, name);
                let value = link.seal().close(&name, &serde_json::to_vec(value).ok()?);
                Some((name, value))
            })
            .collect();
        tokio::spawn(async move {
            let put = |(name, value): (String, Vec<u8>)| {
                let link = &link;
                async move {
                    let mut command = redis::cmd("SET");
                    command.arg(name).arg(value).arg("PX").arg(ttl_ms);
                    let _: Option<()> =
                        link.ask(kind, async |mut redis| command.query_async(&mut redis).await).await;
                }
            };
            stream::iter(sealed).for_each_concurrent(PUTS_AT_ONCE, put).await;
        });
    }
}
