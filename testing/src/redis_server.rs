//! A real Redis server of a test's own, which can be killed, stalled, emptied and started again at the same address.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a server may take to begin, at most.
const START_MAX: Duration = Duration::from_secs(20);
/// Other ports that are tried when somebody took the one that was free.
const TRIES: usize = 10;

/// A running server; it ends with this value.
pub struct RedisServer {
    binary: PathBuf,
    address: SocketAddr,
    arguments: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts a server on a free port, with these settings besides. `None`, and a word about it, when there is no `redis-server`
    /// on this machine; that fails the test when `TEST_REDIS_SERVER` says that there must be one.
    pub fn start(settings: &[&str]) -> Option<Self> {
        let named = std::env::var_os("TEST_REDIS_SERVER").map(PathBuf::from);
        let required = named.is_some();
        let binary = named.unwrap_or_else(|| "redis-server".into());
        let arguments: Vec<String> = settings.iter().map(|setting| (*setting).to_string()).collect();
        for _ in 0..TRIES {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            let address = listener.local_addr().ok()?;
            drop(listener);
            match spawn(&binary, address, &arguments) {
                Ok(child) => {
                    let mut server =
                        Self { binary: binary.clone(), address, arguments: arguments.clone(), child };
                    if server.wait() {
                        return Some(server);
                    }
                }
                Err(error) => {
                    assert!(!required, "TEST_REDIS_SERVER: cannot start {}: {error}", binary.display());
                    eprintln!("not tested: there is no redis-server here ({error})");
                    return None;
                }
            }
        }
        panic!("redis-server does not start");
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it at once, as SIGKILL does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at its address, with nothing in it.
    pub fn restart(&mut self) {
        self.kill();
        for _ in 0..TRIES {
            self.child = spawn(&self.binary, self.address, &self.arguments).expect("it started before");
            if self.wait() {
                return;
            }
        }
        panic!("redis-server does not start again");
    }

    /// Makes it stand still: connections stay open and nothing answers.
    pub fn stall(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    /// Sends a command, words with blanks between them, and gives the first answer as it stands on the wire.
    pub fn command(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
        let mut answer = vec![0; 64 << 10];
        let read = stream.read(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// Whether it began to answer.
    fn wait(&mut self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < START_MAX {
            if TcpStream::connect(self.address).is_ok() && self.command("PING").contains("PONG") {
                return true;
            }
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(binary: &PathBuf, address: SocketAddr, arguments: &[String]) -> std::io::Result<Child> {
    Command::new(binary)
        .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
