//! A real Redis server of the test's own, on a Unix socket in a folder of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::harness::soon;

/// The server; killed when dropped.
pub(crate) struct Redis {
    folder: TempDir,
    child: Child,
    url: String,
    /// 0 for one that is on a Unix socket only.
    pub(crate) port: u16,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Redis {
    /// Starts an empty server and waits until it accepts connections.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = launch(&folder, &[]);
        let url = format!("redis+unix://{}", folder.path().join("socket").display());
        Self { folder, child, url, port: 0 }
    }

    /// The same on a port of loopback, with more options.
    pub(crate) fn on_port(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let port_text = port.to_string();
        let mut all = vec!["--port", &port_text, "--bind", "127.0.0.1"];
        all.extend(options);
        let child = launch(&folder, &all);
        Self { folder, child, url: format!("redis://127.0.0.1:{port}"), port }
    }

    /// A sentinel that watches a master called `main`.
    pub(crate) fn sentinel_of(master: &Self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            master.port,
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("redis-sentinel");
        command.arg(file).arg("--dir").arg(folder.path());
        let child = until_it_says(&mut command, "+monitor");
        Self { folder, child, url: format!("redis://127.0.0.1:{port}"), port }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Ends it at once; what it had is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, empty.
    pub(crate) fn restart(&mut self) {
        self.child = launch(&self.folder, &[]);
    }

    /// Stops it from running, without any of its peers noticing.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// A client that is not a node.
    pub(crate) async fn client(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        soon("Redis", client.get_multiplexed_async_connection_with_config(&patient()))
            .await
            .unwrap()
    }

    /// One command, answered.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut cmd = redis::Cmd::new();
        for word in words {
            cmd.arg(word);
        }
        soon("Redis", cmd.query_async(&mut self.client().await)).await.unwrap()
    }

    /// What is published in a channel, seen by somebody who is not a node.
    pub(crate) async fn client_with_tap(&self, channel: &str) -> Tap {
        let (sender, payloads) = mpsc::channel(64);
        let push = move |info: redis::PushInfo| match info.data.into_iter().nth(1) {
            Some(redis::Value::BulkString(payload)) => {
                sender.try_send(payload).map_err(|_| redis::aio::SendError)
            }
            _ => Ok(()),
        };
        let config = patient().set_push_sender(push);
        let url = format!("{}?protocol=resp3", self.url());
        let client = redis::Client::open(url).unwrap();
        let mut connection =
            soon("Redis", client.get_multiplexed_async_connection_with_config(&config))
                .await
                .unwrap();
        let mut cmd = redis::Cmd::new();
        cmd.arg("SSUBSCRIBE").arg(channel);
        let _: redis::Value = soon("Redis", cmd.query_async(&mut connection)).await.unwrap();
        Tap { payloads, _connection: connection }
    }

    /// Everything that the server executes from now on, as it prints it.
    pub(crate) fn monitor(&self) -> Monitor {
        let socket = self.folder.path().join("socket");
        let mut child = Command::new("redis-cli")
            .arg("-s")
            .arg(socket)
            .arg("MONITOR")
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli is installed");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert_eq!(first, "OK\n");
        Monitor { child, lines }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

/// Payloads of a channel.
pub(crate) struct Tap {
    payloads: mpsc::Receiver<Vec<u8>>,
    _connection: MultiplexedConnection,
}

impl Tap {
    /// The next payload.
    pub(crate) async fn recv(&mut self) -> Option<Vec<u8>> {
        soon("Redis", self.payloads.recv()).await
    }
}

/// A client that sees what everybody does.
pub(crate) struct Monitor {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Monitor {
    /// All that was seen up to a word.
    pub(crate) fn read_to(&mut self, word: &[u8]) -> Vec<u8> {
        let mut seen = Vec::new();
        while !seen.windows(word.len()).any(|window| window == word) {
            assert_ne!(self.lines.read_until(b'\n', &mut seen).unwrap(), 0);
        }
        seen
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// `soon` says how long is too long, not the client's own half a second.
fn patient() -> redis::AsyncConnectionConfig {
    redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

fn launch(folder: &TempDir, options: &[&str]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--unixsocket"]);
    command.arg(folder.path().join("socket")).arg("--dir").arg(folder.path()).args(options);
    until_it_says(&mut command, "eady to accept connections")
}

fn until_it_says(command: &mut Command, word: &str) -> Child {
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.expect("redis-server and redis-sentinel are installed");
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "redis-server starts");
    }
    // Somebody has to read what else it logs, or it waits for that; it ends with the server.
    std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
    child
}

/// A port that nobody has; Redis cannot say which one it picked.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
