//! Fetches from real HTTP servers on this machine that behave as a test wants.

mod bounds;
mod dags;
mod fails;
mod held;
mod memory;
mod places;
mod random;
mod server;
mod whole;

use std::{net::IpAddr, time::Duration};

use content::Cid;
use service::dice::Dice;

use self::{
    memory::{Full, Memory},
    server::Server,
};
use crate::{FetchConfig, FetchError, Fetched, Fetcher, Resolver};

/// May ask this machine at any port of `servers`, and gives up on nothing early.
fn config(servers: &[&Server]) -> FetchConfig {
    FetchConfig {
        ports: servers.iter().map(|server| server.port).collect(),
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        retry_pause: Duration::from_millis(1),
        retry_pause_max: Duration::from_millis(10),
        ..FetchConfig::default()
    }
}

fn fetcher(config: FetchConfig) -> Fetcher {
    named(config, &[])
}

/// The same, where these names are known and no others.
fn named(config: FetchConfig, names: &[(&str, &[&str])]) -> Fetcher {
    let addresses = |list: &[&str]| list.iter().map(|ip| ip.parse::<IpAddr>().unwrap()).collect();
    let names = names.iter().map(|(name, list)| ((*name).to_owned(), addresses(list))).collect();
    Fetcher::new(config, Resolver::Fixed(names), Dice::seeded(7)).unwrap()
}

/// Fetches from `servers` in this order.
async fn fetch(
    config: FetchConfig,
    root: &Cid,
    servers: &[&Server],
) -> (Result<Fetched, FetchError<Full>>, Memory) {
    let origins: Vec<_> = servers.iter().map(|server| server.url()).collect();
    let mut memory = Memory::default();
    let outcome = fetcher(config).fetch(root, &origins, &mut memory).await;
    (outcome, memory)
}

/// Whoever fetches does so in a task of its own.
#[tokio::test]
async fn a_fetch_can_be_spawned() {
    let task = tokio::spawn(async {
        let cid = Cid::identity(content::Codec::Raw, b"carried").unwrap();
        fetch(config(&[]), &cid, &[]).await.0.is_ok()
    });
    assert!(task.await.unwrap());
}
