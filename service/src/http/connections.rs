//! The connections of one listener: how many there are, of whom, and which of them makes room for a new one.
//!
//! A connection without a request in progress never keeps a new one out: whoever opens connections and does nothing with
//! them loses those first. It never closes one that is busy.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{client_limit::customer, config::HttpConfig, in_progress::Activity};

/// What became of connections, for metrics and tests.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) open: AtomicUsize,
    pub(super) refused: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) flooding: AtomicU64,
    pub(super) stalled: AtomicU64,
    pub(super) busy: AtomicU64,
    pub(super) greedy: AtomicU64,
}

impl Counts {
    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were closed at once, as their client had too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections without a request that were closed to make room.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// HTTP/2 connections that were closed as too many requests on them were given up.
    pub fn flooding(&self) -> u64 {
        self.flooding.load(Ordering::Relaxed)
    }

    /// Answers over HTTP/2 of which the client took nothing any more.
    pub fn stalled(&self) -> u64 {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Requests that got 503, as too many were in progress.
    pub fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Requests that got 429, as their client had too many in progress.
    pub fn greedy(&self) -> u64 {
        self.greedy.load(Ordering::Relaxed)
    }
}

/// All connections of a listener; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    listener: &'static str,
    open_max: usize,
    per_client_max: usize,
    requests_per_client_max: usize,
    trusted_proxies: Vec<IpNet>,
    counts: Arc<Counts>,
    table: Mutex<Table>,
    /// Something has changed for whoever waits for room.
    room: Notify,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Entry>,
    per_client: HashMap<IpAddr, Client>,
    next: u64,
}

/// Somebody with connections.
#[derive(Debug)]
struct Client {
    connections: usize,
    /// Room for requests on all of them together.
    requests: Arc<Semaphore>,
}

#[derive(Debug)]
struct Entry {
    /// Nobody when they are not counted.
    client: Option<IpAddr>,
    activity: Arc<Activity>,
    evicted: CancellationToken,
}

/// A connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    id: u64,
    pub(super) activity: Arc<Activity>,
    /// Cancelled when the connection has to make room.
    pub(super) evicted: CancellationToken,
}

/// The client has as many connections as it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Connections {
    pub(super) fn new(
        listener: &'static str,
        config: &HttpConfig,
        trusted_proxies: Vec<IpNet>,
        counts: Arc<Counts>,
    ) -> Self {
        Self(Arc::new(Shared {
            listener,
            open_max: config.connections_max,
            per_client_max: config.connections_per_client_max,
            requests_per_client_max: config.requests_per_client_max,
            trusted_proxies,
            counts,
            table: Mutex::default(),
            room: Notify::new(),
        }))
    }

    /// A place for a connection from `peer`, once there is one. Safe to drop.
    pub(super) async fn place(&self, peer: SocketAddr) -> Result<Place, TooMany> {
        loop {
            // Listened for before looking, so that what happens in between is not missed.
            let room = self.0.room.notified();
            if let Some(place) = self.try_place(peer)? {
                return Ok(place);
            }
            room.await;
        }
    }

    fn try_place(&self, peer: SocketAddr) -> Result<Option<Place>, TooMany> {
        let ip = peer.ip().to_canonical();
        let trusted = self.0.trusted_proxies.iter().any(|net| net.contains(&ip));
        let client = (!trusted).then(|| customer(ip));
        let mut table = self.0.table.lock();
        let known = client.and_then(|client| table.per_client.get(&client));
        if known.is_some_and(|client| client.connections >= self.0.per_client_max) {
            self.0.counts.refused.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("pinstripe_http_connections_refused_total", "listener" => self.0.listener)
                .increment(1);
            return Err(TooMany);
        }
        if table.open.len() >= self.0.open_max && !self.evict(&mut table) {
            return Ok(None);
        }
        let id = table.next;
        table.next += 1;
        let this = self.clone();
        let requests = client.map(|client| {
            let requests_max = self.0.requests_per_client_max;
            let new = || Client { connections: 0, requests: Arc::new(Semaphore::new(requests_max)) };
            let client = table.per_client.entry(client).or_insert_with(new);
            client.connections += 1;
            client.requests.clone()
        });
        let activity = Arc::new(Activity::new(requests, move || this.0.room.notify_one()));
        let evicted = CancellationToken::new();
        table.open.insert(id, Entry { client, activity: activity.clone(), evicted: evicted.clone() });
        self.tell(&table);
        Ok(Some(Place { connections: self.clone(), id, activity, evicted }))
    }

    /// Closes the connection that has been without a request for longest. There are as many steps as connections, which
    /// takes microseconds, and only when there are as many as may be.
    fn evict(&self, table: &mut Table) -> bool {
        let now = Instant::now();
        let mut idle: Vec<(Duration, u64)> = Vec::new();
        for (id, entry) in &table.open {
            idle.extend(entry.activity.idle_for(now).map(|time| (time, *id)));
        }
        // Of those that look idle one may just have begun a request; the next one then.
        while let Some(at) = (0..idle.len()).max_by_key(|at| idle[*at].0) {
            let (_, id) = idle.swap_remove(at);
            let entry = table.open.get(&id).filter(|entry| entry.activity.retire());
            if let Some(entry) = entry {
                entry.evicted.cancel();
                self.remove(table, id);
                self.0.counts.evicted.fetch_add(1, Ordering::Relaxed);
                metrics::counter!("pinstripe_http_connections_evicted_total", "listener" => self.0.listener)
                    .increment(1);
                return true;
            }
        }
        false
    }

    fn remove(&self, table: &mut Table, id: u64) {
        let Some(entry) = table.open.remove(&id) else { return };
        if let Some(client) = entry.client
            && let Some(known) = table.per_client.get_mut(&client)
        {
            known.connections -= 1;
            if known.connections == 0 {
                table.per_client.remove(&client);
            }
        }
        self.tell(table);
    }

    fn tell(&self, table: &Table) {
        self.0.counts.open.store(table.open.len(), Ordering::Relaxed);
        metrics::gauge!("pinstripe_http_connections", "listener" => self.0.listener)
            .set(table.open.len() as f64);
    }

    /// Closes the connection that has been without a request for longest, for whoever has no room otherwise; `false`: all are
    /// busy.
    pub(super) fn make_room(&self) -> bool {
        self.evict(&mut self.0.table.lock())
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.0.counts
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let connections = &self.connections;
        connections.remove(&mut connections.0.table.lock(), self.id);
        connections.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(open_max: usize, per_client_max: usize) -> Connections {
        let config = HttpConfig {
            connections_max: open_max,
            connections_per_client_max: per_client_max,
            ..HttpConfig::default()
        };
        Connections::new("test", &config, vec!["10.0.0.0/8".parse().unwrap()], Arc::default())
    }

    fn peer(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 4000)
    }

    #[test]
    fn each_client_has_so_many_and_trusted_proxies_have_all() {
        let connections = connections(100, 2);
        let place = |ip| connections.try_place(peer(ip));
        let first = place("192.0.2.1").unwrap().unwrap();
        let _second = place("::ffff:192.0.2.1").unwrap().unwrap();
        assert_eq!(place("192.0.2.1").unwrap_err(), TooMany);
        let _other = place("192.0.2.2").unwrap().unwrap();
        drop(first);
        let _again = place("192.0.2.1").unwrap().unwrap();
        let _six: Vec<Place> =
            ["2001:db8:0:1::1", "2001:db8:0:1::2"].map(|ip| place(ip).unwrap().unwrap()).into();
        assert_eq!(place("2001:db8:0:1:ffff::").unwrap_err(), TooMany, "the same customer");
        let proxied: Vec<_> = (0..50).map(|_| place("10.0.0.1").unwrap().unwrap()).collect();
        assert_eq!((connections.counts().open(), connections.counts().refused()), (55, 2));
        drop(proxied);
        assert_eq!(connections.counts().open(), 5);
    }

    #[tokio::test]
    async fn when_files_run_out_an_idle_one_goes_before_there_are_too_many() {
        let connections = connections(100, 100);
        let place = || connections.try_place(peer("192.0.2.1")).unwrap().unwrap();
        let (idle, busy) = (place(), place());
        let _busy = busy.activity.begin();
        assert!(connections.make_room() && idle.evicted.is_cancelled());
        assert!(!connections.make_room() && !busy.evicted.is_cancelled());
        assert_eq!((connections.counts().open(), connections.counts().evicted()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_one_makes_room_and_a_busy_one_never() {
        let connections = connections(3, 100);
        let place = || connections.try_place(peer("192.0.2.1")).unwrap();
        let (first, second, third) = (place().unwrap(), place().unwrap(), place().unwrap());
        let (_first, busy) = (first.activity.begin(), second.activity.begin());
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(busy);
        tokio::time::advance(Duration::from_secs(1)).await;
        let fourth = place().unwrap();
        assert!(third.evicted.is_cancelled() && !second.evicted.is_cancelled(), "it never had a request");
        let _fourth = fourth.activity.begin();
        let fifth = place().unwrap();
        assert!(second.evicted.is_cancelled() && !first.evicted.is_cancelled());
        let busy = fifth.activity.begin();
        assert!(place().is_none(), "all are busy");
        assert_eq!((connections.counts().open(), connections.counts().evicted()), (3, 2));
        // Whoever waits is let in as soon as one of them has answered.
        let waiting = connections.place(peer("192.0.2.9"));
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_secs(1), waiting.as_mut()).await.is_err());
        drop(busy);
        let sixth = waiting.await.unwrap();
        assert!(fifth.evicted.is_cancelled());
        drop((second, third, fifth));
        assert_eq!(connections.counts().open(), 3, "what was evicted is not counted off twice");
        drop(sixth);
        assert_eq!(connections.counts().open(), 2);
    }
}
