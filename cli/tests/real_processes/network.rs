//! A network of real processes for tests: `pinstripe dev` in a temporary directory, on addresses of its own.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(4);

pub(crate) struct Network {
    dev: Child,
    /// Processes that were started again, by their names.
    again: HashMap<String, Child>,
    database: String,
    dir: tempfile::TempDir,
    file: Value,
    http: reqwest::Client,
}

/// Bytes that depend on the seed alone.
pub(crate) fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Copies a source tree without what is built from it; gives the paths of its files.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        std::fs::create_dir_all(to.join(&folder)).unwrap();
        for entry in std::fs::read_dir(from.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let name = entry.file_name().into_string().unwrap();
            // What is hidden, and what is built, is not uploaded.
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                std::fs::copy(entry.path(), to.join(&path)).unwrap();
                files.push(path.to_str().unwrap().to_string());
            }
        }
    }
    files
}

/// An address that nothing else takes while its process is started again: the system gives ports from 32768 on to connections.
fn free_address() -> SocketAddr {
    let random = RandomState::new();
    let mut ports = (0_u64..).map(|tried| 10_000 + u16::try_from(random.hash_one(tried) % 10_000).unwrap());
    ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap().local_addr().unwrap()
}

impl Network {
    pub(crate) async fn start(nodes: u16) -> Self {
        Self::start_with(nodes, &[]).await
    }

    /// The same with more arguments for `pinstripe dev`.
    pub(crate) async fn start_with(nodes: u16, arguments: &[&str]) -> Self {
        Self::start_in(nodes, arguments, &[]).await
    }

    /// The same with variables of the environment for all processes.
    pub(crate) async fn start_in(nodes: u16, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listen = free_address();
        let mut dev = Command::new(env!("CARGO_BIN_EXE_pinstripe"))
            .args(["dev", "--nodes", &nodes.to_string(), "--listen", &listen.to_string(), "--dir"])
            .arg(dir.path().join("net"))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let path = dir.path().join("net/dev.json");
        let started = Instant::now();
        let file = loop {
            if let Ok(text) = std::fs::read(&path) {
                break serde_json::from_slice(&text).unwrap();
            }
            if started.elapsed() >= PATIENCE || dev.try_wait().unwrap().is_some() {
                // Its children end with it.
                let _ = dev.kill();
                panic!("the network did not start");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let given = arguments.iter().skip_while(|argument| **argument != "--database").nth(1);
        let sqlite = || format!("sqlite://{}", dir.path().join("net/pinstripe.db").display());
        let database = given.map_or_else(sqlite, |url| (*url).to_string());
        Self { dev, again: HashMap::new(), database, dir, file, http }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.file["gateway"].as_str().unwrap())
    }

    pub(crate) fn key(&self) -> &str {
        self.file["api_key"].as_str().unwrap()
    }

    pub(crate) async fn upload(&self, name: &str, bytes: &[u8]) -> String {
        self.try_upload(name.to_string(), bytes.to_vec()).await.expect("upload")
    }

    /// The CID, if the upload was acknowledged.
    pub(crate) fn try_upload(
        &self,
        name: String,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Option<String>> + use<> {
        let request =
            self.http.post(self.url(&format!("/v1/files?name={name}"))).bearer_auth(self.key()).body(bytes);
        async move {
            let response = request.send().await.ok()?;
            if response.status() != 201 {
                return None;
            }
            let info: Value = serde_json::from_slice(&response.bytes().await.ok()?).ok()?;
            Some(info["cid"].as_str()?.to_string())
        }
    }

    pub(crate) async fn add_directory(&self, path: &Path) -> String {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_pinstripe"))
            .args(["add", "--quiet"])
            .arg(path)
            .arg("--dir")
            .arg(self.dir.path().join("net"))
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    }

    /// Reads as anybody does: with redirects followed.
    pub(crate) async fn read(&self, path: &str) -> Vec<u8> {
        let response = self.http.get(self.url(&format!("/ipfs/{path}"))).send().await.expect("read");
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.expect("body").to_vec()
    }

    pub(crate) fn gateway_url(&self) -> String {
        self.url("")
    }

    /// The server that a read ended at, and the bytes.
    pub(crate) async fn read_from(&self, path: &str) -> (String, Vec<u8>) {
        let response = self.http.get(self.url(path)).send().await.expect("read");
        assert_eq!(response.status(), 200, "{path}");
        let server = response.url().origin().ascii_serialization();
        (server, response.bytes().await.expect("body").to_vec())
    }

    /// Reads from this server alone.
    pub(crate) async fn read_at(&self, server: &str, path: &str) -> Vec<u8> {
        let response = self.http.get(format!("{server}{path}")).send().await.expect("read");
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.expect("body").to_vec()
    }

    pub(crate) async fn read_range(&self, path: &str, start: usize, len: usize) -> Vec<u8> {
        let range = format!("bytes={start}-{}", start + len - 1);
        let response = self
            .http
            .get(self.url(&format!("/ipfs/{path}")))
            .header("range", range)
            .send()
            .await
            .expect("read");
        assert_eq!(response.status(), 206, "{path}");
        response.bytes().await.expect("body").to_vec()
    }

    /// Waits until `pinstripe status` ends in this way, and gives what it says.
    pub(crate) async fn until_status(&self, code: i32) -> String {
        let started = Instant::now();
        loop {
            let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pinstripe"));
            command.arg("status").arg("--dir").arg(self.dir.path().join("net"));
            let output = command.output().await.unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            if output.status.code() == Some(code) {
                return said;
            }
            assert!(started.elapsed() < PATIENCE, "{said}{}", String::from_utf8_lossy(&output.stderr));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What a process has logged.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("net/logs/{name}.log"))).unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.http.get(self.url(path)).bearer_auth(self.key()).send().await.expect(path);
        serde_json::from_slice(&response.bytes().await.expect(path)).expect(path)
    }

    pub(crate) async fn list(&self) -> Vec<String> {
        let list = self.json("/v1/files?limit=1000").await;
        list["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["cid"].as_str().unwrap().to_string())
            .collect()
    }

    /// Waits until every piece of the file is on a healthy node.
    pub(crate) async fn until_healthy(&self, cid: &str) {
        let started = Instant::now();
        loop {
            let health = self.json(&format!("/v1/files/{cid}/health")).await;
            if health["status"] == "healthy" {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "not healthy in time: {health}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until none of these nodes is recorded to hold a piece of the file, and every piece is on a healthy one.
    pub(crate) async fn until_moved_off(&self, cid: &str, nodes: &[String]) {
        let started = Instant::now();
        while self.holders(cid).await.iter().any(|holder| nodes.contains(holder)) {
            assert!(started.elapsed() < PATIENCE, "not repaired in time");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.until_healthy(cid).await;
    }

    /// Waits until no node holds a piece that is not of a listed file.
    pub(crate) async fn until_nodes_hold_only_what_is_listed(&self) {
        self.until_living_nodes_hold_only_what_is_listed(&[]).await;
    }

    /// The same when nodes of these numbers are dead.
    pub(crate) async fn until_living_nodes_hold_only_what_is_listed(&self, dead: &[usize]) {
        let mut recorded = HashSet::new();
        for cid in self.list().await {
            self.until_healthy(&cid).await;
            let health = self.json(&format!("/v1/files/{cid}/health")).await;
            for segment in health["segments"].as_array().unwrap() {
                let held =
                    segment["pieces"].as_array().unwrap().iter().filter(|piece| !piece["node"].is_null());
                recorded.extend(held.map(|piece| format!("{} {}", segment["id"], piece["index"])));
            }
        }
        let started = Instant::now();
        loop {
            // Beside files there is the network's log of pins.
            let log = self.log_pieces().await;
            let mut held = 0;
            let nodes = self.file["nodes"].as_array().unwrap().iter().enumerate();
            for (_, node) in nodes.filter(|(number, _)| !dead.contains(number)) {
                held += self.pieces_at(node["url"].as_str().unwrap()).await;
            }
            let wanted = recorded.len() + log;
            if held == wanted {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{held} pieces are held, {wanted} are recorded");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn log_pieces(&self) -> usize {
        let db = store::Db::open(&store::DbOptions::new(&self.database)).await.unwrap();
        let segments = db.pin_log_segments(None, 1_000).await.unwrap();
        let infos = db.segments_info(&segments).await.unwrap();
        db.close().await;
        infos.iter().flat_map(|info| &info.pieces).filter(|piece| piece.node.is_some()).count()
    }

    /// Rebuilds the database from the nodes; gives what the command prints.
    pub(crate) async fn recover(&self) -> String {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pinstripe"));
        command.args(["recover", "--database", &self.database, "--network-key"]);
        command.arg(self.dir.path().join("net/network.key"));
        for node in self.file["nodes"].as_array().unwrap() {
            command.args(["--node", node["url"].as_str().unwrap()]);
        }
        let output = command.output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// How many pieces a node says that it holds.
    async fn pieces_at(&self, node: &str) -> usize {
        self.metric(node, "pinstripe_store_pieces").await.expect("pinstripe_store_pieces")
    }

    /// What a process says of a metric that is a whole number; with its labels, if it has some.
    pub(crate) async fn metric(&self, server: &str, name: &str) -> Option<usize> {
        let metrics = self.http.get(format!("{server}/metrics")).send().await.expect("metrics");
        let metrics = metrics.text().await.expect("metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a whole number"))
    }

    /// Waits until a gateway says of this metric that it is at least so much.
    pub(crate) async fn until_metric(&self, gateway: &str, name: &str, value: usize) {
        let (started, url) = (Instant::now(), self.url_of(gateway));
        loop {
            let found = self.metric(&url, name).await;
            if found.is_some_and(|found| found >= value) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{gateway}: {name} is {found:?} and not {value}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The nodes that hold a piece of any segment of a file.
    async fn holders(&self, cid: &str) -> HashSet<String> {
        let health = self.json(&format!("/v1/files/{cid}/health")).await;
        let segments = health["segments"].as_array().unwrap().iter();
        let pieces = segments.flat_map(|segment| segment["pieces"].as_array().unwrap());
        pieces.filter_map(|piece| piece["node"].as_str().map(str::to_string)).collect()
    }

    /// Kills nodes by their number; gives their ids.
    pub(crate) fn kill_nodes(&mut self, numbers: &[usize]) -> Vec<String> {
        let nodes = self.file["nodes"].as_array().unwrap();
        let killed = numbers.iter().map(|number| {
            kill(&nodes[*number]["pid"]);
            nodes[*number]["id"].as_str().unwrap().to_string()
        });
        killed.collect()
    }

    pub(crate) fn kill_gateway(&mut self) {
        self.signal("gateway", libc::SIGKILL);
    }

    pub(crate) fn kill_monitor(&mut self) {
        self.signal("monitor", libc::SIGKILL);
    }

    /// Process id of a gateway or a monitor.
    pub(crate) fn pid(&self, name: &str) -> i64 {
        let again = self.again.get(name).map(|child| i64::from(child.id()));
        again.unwrap_or_else(|| self.file["pids"][name].as_i64().unwrap())
    }

    /// Kills a process at any time, as SIGKILL does.
    pub(crate) fn kill_pid(pid: i64) {
        send(pid, libc::SIGKILL);
    }

    /// Sends a signal to a gateway or a monitor. One that was killed before is left alone.
    pub(crate) fn signal(&mut self, name: &str, signal: i32) {
        match self.again.get_mut(name) {
            Some(child) => {
                send(i64::from(child.id()), signal);
                if signal == libc::SIGKILL {
                    child.wait().unwrap();
                    self.again.remove(name);
                }
            }
            None => send(self.file["pids"][name].as_i64().unwrap(), signal),
        }
    }

    /// Call it when nobody has the database open any more.
    pub(crate) fn remove_database(&self) {
        for name in ["pinstripe.db", "pinstripe.db-wal", "pinstripe.db-shm"] {
            let removed = std::fs::remove_file(self.dir.path().join("net").join(name));
            assert!(removed.is_ok() || name != "pinstripe.db");
        }
    }

    /// Starts the gateway again, with the configuration that it had.
    pub(crate) async fn restart_gateway(&mut self) {
        self.start_again("gateway").await;
    }

    /// Starts a gateway or a monitor again, with the configuration that it had, and waits until it is ready.
    pub(crate) async fn start_again(&mut self, name: &str) {
        let server = self.server(name);
        let kind = name.split('-').next().unwrap();
        let url = server["url"].as_str().unwrap().to_string();
        let config = server["config"].as_str().unwrap().to_string();
        let started = Instant::now();
        loop {
            let child = Command::new(env!("CARGO_BIN_EXE_pinstripe"))
                .args([kind, "--config", &config])
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut old = self.again.insert(name.to_string(), child);
            if let Some(old) = &mut old {
                old.wait().unwrap();
            }
            loop {
                let ready = self.http.get(format!("{url}/readyz")).send().await;
                if ready.is_ok_and(|ready| ready.status() == 200) && self.has_own_address(name) {
                    return;
                }
                assert!(started.elapsed() < PATIENCE, "{name} did not come back");
                // It ends by itself when the address is still taken by the one that was killed.
                if !self.has_own_address(name) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Kills the node at a URL and starts it again on its disk, with other settings, from the environment.
    pub(crate) async fn start_node_again(&mut self, url: &str, settings: &[(&str, &str)]) {
        let nodes = self.file["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["url"] == url).unwrap();
        let name = node["dir"].as_str().unwrap().to_string();
        kill(&node["pid"]);
        let started = Instant::now();
        loop {
            let child = Command::new(env!("CARGO_BIN_EXE_pinstripe"))
                .args(["pinner", "--config"])
                .arg(Path::new(&name).join("pinner.toml"))
                .envs(settings.iter().copied())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            if let Some(mut old) = self.again.insert(name.clone(), child) {
                old.wait().unwrap();
            }
            // It ends by itself when the address, or a file, is still held by the one that was killed.
            while self.has_own_address(&name) {
                let status = self.http.get(format!("{url}/v1/status")).send().await;
                if status.is_ok_and(|status| status.status() == 200) && self.has_own_address(&name) {
                    return;
                }
                assert!(started.elapsed() < PATIENCE, "the node at {url} did not come back");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Whether the process that was started again still runs.
    fn has_own_address(&mut self, name: &str) -> bool {
        self.again.get_mut(name).is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// What `dev.json` says of a gateway or a monitor.
    fn server(&self, name: &str) -> &Value {
        let kind = if name.starts_with("gateway") { "gateways" } else { "monitors" };
        let servers = self.file[kind].as_array().unwrap();
        servers.iter().find(|server| server["name"] == name).unwrap()
    }

    /// URL of a gateway or a monitor.
    pub(crate) fn url_of(&self, name: &str) -> String {
        self.server(name)["url"].as_str().unwrap().to_string()
    }

    /// A client for what is asked here and nowhere else.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn admin_token(&self) -> &str {
        self.file["admin_token"].as_str().unwrap()
    }
}

fn kill(pid: &Value) {
    send(pid.as_i64().unwrap(), libc::SIGKILL);
}

fn send(pid: i64, signal: i32) {
    let pid = i32::try_from(pid).unwrap();
    // SAFETY: kill has no memory effects. The process is a child of the network under test.
    unsafe {
        libc::kill(pid, signal);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in self.again.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The children end with it.
        let _ = self.dev.kill();
        let _ = self.dev.wait();
    }
}
