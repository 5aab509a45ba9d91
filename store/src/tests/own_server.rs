//! A PostgreSQL of a test's own, which can be killed and started again. It ends with the test.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::DbOptions;

/// A server in a temporary directory.
pub(super) struct OwnServer {
    dir: PathBuf,
    programs: PathBuf,
    port: u16,
}

impl OwnServer {
    /// Starts one, with the programs that `TEST_POSTGRES_BIN` names; `None`, and said, if there are none.
    pub(super) fn start() -> Option<Self> {
        let Some(programs) = variable("TEST_POSTGRES_BIN").map(PathBuf::from) else {
            eprintln!("*** TEST_POSTGRES_BIN is not set: this test is SKIPPED ***");
            return None;
        };
        let dir = String::from_utf8(run(Command::new("mktemp").args(["-d", "/tmp/pinstripe-own.XXXXXX"])));
        let dir = PathBuf::from(dir.expect("a path").trim());
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&dir));
        }
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let server = Self { dir, programs, port };
        let data = server.data();
        run(server
            .program("initdb")
            .args(["--username", "test", "--auth", "trust", "--no-sync", "--pgdata"])
            .arg(data));
        server.start_again();
        Some(server)
    }

    /// Ends it as a crash does.
    pub(super) fn kill(&self) {
        run(self.program("pg_ctl").args(["stop", "--mode", "immediate", "--pgdata"]).arg(self.data()));
    }

    pub(super) fn start_again(&self) {
        // Durable, as what is in use: what was committed is there after a crash.
        let options = format!("-p {} -k {} -c listen_addresses=127.0.0.1", self.port, self.dir.display());
        run(self
            .program("pg_ctl")
            .args(["start", "--wait", "--options", &options, "--log"])
            .arg(self.dir.join("log"))
            .arg("--pgdata")
            .arg(self.data()));
    }

    pub(super) fn options(&self) -> DbOptions {
        DbOptions::new(format!("postgres://test@127.0.0.1:{}/postgres", self.port))
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// PostgreSQL refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It may be stopped already.
        let stop = self
            .program("pg_ctl")
            .args(["stop", "--mode", "immediate", "--pgdata"])
            .arg(self.data())
            .output();
        if let Err(error) = stop.and_then(|_| std::fs::remove_dir_all(&self.dir)) {
            eprintln!("{} stays behind: {error}", self.dir.display());
        }
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|me| me.uid() == 0)
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration but their variables")]
    std::env::var(name).ok()
}

/// Runs a program to its end and gives what it says. The server that it may leave behind holds none of our pipes.
fn run(command: &mut Command) -> Vec<u8> {
    let quiet = command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let starts_server = quiet.get_args().any(|argument| argument == "start");
    let output = if starts_server { quiet.stdout(Stdio::null()).output() } else { quiet.output() };
    let output = output.unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    output.stdout
}
