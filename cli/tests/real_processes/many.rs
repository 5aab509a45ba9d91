//! Three gateways and two monitors on one PostgreSQL and one Redis, some of which are killed, cut off and started again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use testing::{PostgresDatabase, RedisServer, TcpProxy};
use tokio::task::JoinHandle;

use super::network::{Network, random_bytes};

const GATEWAYS: [&str; 3] = ["gateway", "gateway-2", "gateway-3"];

/// What the network stands on.
struct Base {
    database: PostgresDatabase,
    /// The way to the database.
    way: TcpProxy,
    redis: RedisServer,
}

/// A network of three gateways and two monitors; `None` where there is no PostgreSQL or Redis.
async fn many(nodes: u16) -> Option<(Network, Base)> {
    let (database, redis) = (PostgresDatabase::create()?, RedisServer::start(&[])?);
    let url = url::Url::parse(&database.url()).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let way = TcpProxy::to(server).await.unwrap();
    let mut through = url;
    through.set_port(Some(way.address().port())).unwrap();
    let arguments =
        ["--gateways", "3", "--monitors", "2", "--database", through.as_str(), "--redis", &redis.url()];
    let network = Network::start_with(nodes, &arguments).await;
    Some((network, Base { database, way, redis }))
}

/// Uploads by a gateway; the CID, or why not.
pub(crate) async fn upload(
    network: &Network,
    gateway: &str,
    name: &str,
    bytes: &[u8],
) -> Result<String, String> {
    let request = network
        .http()
        .post(format!("{}/v1/files?name={name}", network.url_of(gateway)))
        .bearer_auth(network.key())
        .body(bytes.to_vec());
    let response = request.send().await.map_err(|error| error.to_string())?;
    let (status, retry) = (response.status(), response.headers().contains_key("retry-after"));
    let text = response.text().await.map_err(|error| error.to_string())?;
    if status != 201 {
        return Err(format!("{status} {retry} {text}"));
    }
    let info: Value = serde_json::from_str(&text).unwrap();
    Ok(info["cid"].as_str().unwrap().to_string())
}

/// Reads by a gateway, or by the node that it names.
async fn read(network: &Network, gateway: &str, cid: &str) -> Result<Vec<u8>, String> {
    let url = format!("{}/ipfs/{cid}", network.url_of(gateway));
    let response = network.http().get(url).send().await.map_err(|error| error.to_string())?;
    if response.status() != 200 {
        return Err(response.status().to_string());
    }
    Ok(response.bytes().await.map_err(|error| error.to_string())?.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_took_or_revoked_all_know_at_once() {
    let Some((network, base)) = many(20).await else { return };
    for (index, taker) in GATEWAYS.iter().enumerate() {
        let bytes = random_bytes(100 + index as u64, 3_000_000);
        let cid = upload(&network, taker, "file", &bytes).await.unwrap();
        for reader in GATEWAYS {
            assert_eq!(read(&network, reader, &cid).await.unwrap(), bytes, "{taker} to {reader}");
        }
    }
    // Once with Redis and once without.
    for redis in [true, false] {
        if !redis {
            base.redis.stall();
        }
        let (id, key) = make_key(&network).await;
        for gateway in GATEWAYS {
            assert_eq!(list_with(&network, gateway, &key).await, 200);
        }
        let revoked = Instant::now();
        let url = format!("{}/v1/admin/keys/{id}", network.url_of("gateway-2"));
        let response = network.http().delete(url).bearer_auth(network.admin_token()).send().await.unwrap();
        assert_eq!(response.status(), 204);
        for gateway in GATEWAYS {
            while list_with(&network, gateway, &key).await != 401 {
                assert!(
                    revoked.elapsed() < Duration::from_secs(30),
                    "{gateway} still believes a revoked key"
                );
            }
        }
        println!("refused everywhere after {:?} (redis: {redis})", revoked.elapsed());
    }
    base.redis.go_on();
    drop(network);
    drop(base.database);
}

async fn make_key(network: &Network) -> (String, String) {
    let admin = |path: String, body: Value| {
        let request = network.http().post(format!("{}{path}", network.gateway_url())).json(&body);
        let request = request.bearer_auth(network.admin_token());
        async move { serde_json::from_str::<Value>(&request.send().await.unwrap().text().await.unwrap()).unwrap() }
    };
    let account = admin("/v1/admin/accounts".into(), serde_json::json!({ "name": "another" })).await;
    let keys = format!("/v1/admin/accounts/{}/keys", account["id"].as_str().unwrap());
    let key = admin(keys, serde_json::json!({ "name": "key" })).await;
    (key["id"].as_str().unwrap().to_string(), key["key"].as_str().unwrap().to_string())
}

async fn list_with(network: &Network, gateway: &str, key: &str) -> u16 {
    let url = format!("{}/v1/files", network.url_of(gateway));
    network.http().get(url).bearer_auth(key).send().await.unwrap().status().as_u16()
}

/// Gateways and monitors die while files are uploaded and a node's pieces are repaired: nothing is lost, and nothing is there
/// twice.
#[tokio::test(flavor = "multi_thread")]
async fn killed_gateways_and_monitors_lose_nothing_and_double_nothing() {
    let Some((mut network, base)) = many(24).await else { return };
    let mut acknowledged: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..12_u64 {
        let victim = GATEWAYS[usize::try_from(round).unwrap() % 3];
        let uploads = (0..9_u64).map(|file| {
            let bytes =
                random_bytes(5_000 + round * 9 + file, 20_000 + 60_000 * usize::try_from(file).unwrap());
            let (network, name) = (&network, format!("file-{round}-{file}"));
            async move {
                let gateway = GATEWAYS[usize::try_from(file).unwrap() % 3];
                upload(network, gateway, &name, &bytes).await.ok().map(|cid| (cid, bytes))
            }
        });
        let uploads = futures_util::future::join_all(uploads);
        let pid = network.pid(victim);
        let killed = async {
            // Some instant of it: not a wait for anything.
            tokio::time::sleep(Duration::from_micros(500 + 41_017 * round % 90_000)).await;
            Network::kill_pid(pid);
        };
        let (outcomes, ()) = tokio::join!(uploads, killed);
        acknowledged.extend(outcomes.into_iter().flatten());
        if round == 4 {
            network.kill_nodes(&[0, 1]);
        }
        if round == 6 {
            network.signal("monitor", libc::SIGKILL);
        }
        if round == 9 {
            network.start_again("monitor").await;
            network.signal("monitor-2", libc::SIGKILL);
        }
        network.start_again(victim).await;
    }
    network.start_again("monitor-2").await;
    assert!(acknowledged.len() > 12 && acknowledged.len() < 12 * 9, "{} acknowledged", acknowledged.len());
    for (cid, bytes) in &acknowledged {
        network.until_healthy(cid).await;
        for gateway in GATEWAYS {
            assert_eq!(&read(&network, gateway, cid).await.unwrap(), bytes, "{gateway}");
        }
    }
    let mut listed = network.list().await;
    let count = listed.len();
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), count, "nothing is listed twice");
    network.until_living_nodes_hold_only_what_is_listed(&[0, 1]).await;
    drop(network);
    drop(base);
}

/// Every gateway and monitor is asked to stop and started again, one after the other, while clients upload and read. A client
/// that tries again as ordinary ones do sees no failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_nobody_who_tries_again() {
    let Some((mut network, base)) = many(20).await else { return };
    let first = random_bytes(70, 200_000);
    let cid = upload(&network, "gateway", "first", &first).await.unwrap();
    let load = Load::start(&network, &cid, &first);
    for name in ["gateway", "gateway-2", "monitor", "gateway-3", "monitor-2"] {
        let before = load.done();
        network.signal(name, libc::SIGTERM);
        network.start_again(name).await;
        load.goes_on(before, name).await;
    }
    load.stop(&network).await;
    drop(network);
    drop(base);
}

/// What happens to Redis.
type Trouble = fn(&mut RedisServer);

/// Redis dies, comes back, stands still and loses all it had while clients upload and read: none of them notices.
#[tokio::test(flavor = "multi_thread")]
async fn redis_in_trouble_under_load_fails_nobody() {
    let Some((network, mut base)) = many(20).await else { return };
    let first = random_bytes(71, 200_000);
    let cid = upload(&network, "gateway", "first", &first).await.unwrap();
    let load = Load::start(&network, &cid, &first);
    let troubles: [(&str, Trouble); 5] = [
        ("killed", RedisServer::kill),
        ("started again", RedisServer::restart),
        ("stands still", |redis| redis.stall()),
        ("goes on", |redis| redis.go_on()),
        ("emptied", |redis| drop(redis.command("FLUSHALL"))),
    ];
    for (what, trouble) in troubles {
        let before = load.done();
        trouble(&mut base.redis);
        load.goes_on(before, what).await;
    }
    load.stop(&network).await;
    for gateway in GATEWAYS {
        network.until_metric(gateway, "pinstripe_redis_up", 1).await;
    }
    drop(network);
    drop(base);
}

/// CIDs, each with the bytes that it must read as.
type Uploaded = Vec<(String, Vec<u8>)>;

/// Clients that upload and read until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Uploaded>>,
}

impl Load {
    /// Four of them, who also read `cid`, which is `first`.
    fn start(network: &Network, cid: &str, first: &[u8]) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..4_u64).map(|client| {
            let (stop, done) = (stop.clone(), done.clone());
            let (cid, first) = (cid.to_string(), first.to_vec());
            let caller = Caller {
                http: network.http().clone(),
                gateways: GATEWAYS.map(|gateway| network.url_of(gateway)),
                key: network.key().to_string(),
            };
            tokio::spawn(async move {
                let mut turn = client;
                let mut uploaded = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    turn += 4;
                    let bytes = random_bytes(900_000 + turn, 40_000);
                    let cid_of_it = caller.upload(turn, &bytes).await;
                    assert_eq!(caller.read(turn, &cid_of_it).await, bytes);
                    assert_eq!(caller.read(turn + 1, &cid).await, first);
                    uploaded.push((cid_of_it, bytes));
                    done.fetch_add(1, Ordering::Relaxed);
                }
                uploaded
            })
        });
        let clients = clients.collect();
        Self { stop, done, clients }
    }

    /// How many files were uploaded and read back.
    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until each client was answered a few times since then.
    async fn goes_on(&self, before: usize, after: &str) {
        let begin = Instant::now();
        while self.done() < before + 8 {
            assert!(begin.elapsed() < Duration::from_mins(2), "nothing goes on after {after}");
            assert!(!self.clients.iter().all(JoinHandle::is_finished), "all clients have failed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Nobody failed, and all that was uploaded is there.
    async fn stop(self, network: &Network) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            for (cid, bytes) in client.await.expect("no client saw a failure") {
                assert_eq!(read(network, "gateway-3", &cid).await.unwrap(), bytes);
            }
        }
    }
}

/// A client with ordinary retries: another gateway after a connection that broke, and after 429 and 503.
struct Caller {
    http: reqwest::Client,
    gateways: [String; 3],
    key: String,
}

impl Caller {
    const TRIES: u64 = 8;

    async fn upload(&self, turn: u64, bytes: &[u8]) -> String {
        let send = |gateway: String| {
            let request = self.http.post(format!("{gateway}/v1/files?name=file-{turn}"));
            request.bearer_auth(&self.key).body(bytes.to_vec())
        };
        let body = self.until_answered(turn, 201, send).await;
        let info: Value = serde_json::from_slice(&body).unwrap();
        info["cid"].as_str().unwrap().to_string()
    }

    async fn read(&self, turn: u64, cid: &str) -> Vec<u8> {
        self.until_answered(turn, 200, |gateway| self.http.get(format!("{gateway}/ipfs/{cid}"))).await
    }

    async fn until_answered(
        &self,
        turn: u64,
        wanted: u16,
        request: impl Fn(String) -> reqwest::RequestBuilder,
    ) -> Vec<u8> {
        let mut last = String::new();
        for attempt in 0..Self::TRIES {
            let gateway = &self.gateways[usize::try_from((turn + attempt) % 3).unwrap()];
            match request(gateway.clone()).send().await {
                Ok(response) if response.status() == wanted => match response.bytes().await {
                    Ok(body) => return body.to_vec(),
                    Err(error) => last = error.to_string(),
                },
                Ok(response) => {
                    last = response.status().to_string();
                    assert!(matches!(response.status().as_u16(), 429 | 502 | 503 | 504), "{last}");
                }
                Err(error) => last = error.to_string(),
            }
            // What an ordinary client does between tries.
            tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
        }
        panic!("failed {} times, last with {last}", Self::TRIES);
    }
}

/// Without the database reads go on, uploads say when to come back, and all is well again by itself.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_reads_go_on_and_uploads_are_told_when_to_come_back() {
    let Some((network, base)) = many(20).await else { return };
    let bytes = random_bytes(80, 5_000_000);
    let cid = upload(&network, "gateway", "file", &bytes).await.unwrap();
    for gateway in GATEWAYS {
        assert_eq!(read(&network, gateway, &cid).await.unwrap(), bytes);
    }
    for cut in [true, false] {
        if cut {
            base.way.cut();
        } else {
            base.way.stand_still();
        }
        for gateway in GATEWAYS {
            assert_eq!(read(&network, gateway, &cid).await.unwrap(), bytes, "{gateway} (cut: {cut})");
            let refused = upload(&network, gateway, "late", &random_bytes(81, 10_000)).await.unwrap_err();
            assert!(refused.starts_with("503") && refused.contains(" true "), "{refused}");
        }
        base.way.open();
        let begin = Instant::now();
        let again = random_bytes(82 + u64::from(cut), 100_000);
        let cid = loop {
            match upload(&network, "gateway-2", "again", &again).await {
                Ok(cid) => break cid,
                Err(error) => assert!(begin.elapsed() < Duration::from_mins(2), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        network.until_healthy(&cid).await;
        assert_eq!(read(&network, "gateway-3", &cid).await.unwrap(), again);
    }
    drop(network);
    drop(base);
}
