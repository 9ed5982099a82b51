//! Redis: one server, a cluster of three masters, or a master with a replica and a sentinel.
//! Nothing is persisted, so that whoever is killed has forgotten everything.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::process::{Process, free_port};
use super::{PATIENCE, Resp, soon, until};

/// One server, on a port that stays the same when it is started again.
pub(crate) struct Redis {
    /// Where it listens, on loopback.
    pub(crate) port: u16,
    command: Command,
    folder: std::path::PathBuf,
    process: Process,
}

impl Redis {
    /// Starts a server, with these arguments after the usual ones.
    pub(crate) async fn start(folder: &Path, more: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no", "--repl-diskless-sync-delay", "0"]).args(more);
        let process = Process::start(&command, folder, &format!("redis-{port}"));
        let mut redis = Self { port, command, folder: folder.to_owned(), process };
        redis.answers().await;
        redis
    }

    /// A connection of the harness' own.
    pub(crate) async fn talk(&self) -> Resp {
        soon("Redis", Resp::connect(self.port)).await.expect("it listens")
    }

    /// One command.
    pub(crate) async fn ask(&self, command: &str) -> String {
        self.talk().await.ask(command).await.expect("it answers")
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, empty, on its port.
    pub(crate) async fn restart(&mut self) {
        let name = format!("redis-{}", self.port);
        self.process = Process::start(&self.command, &self.folder, &name);
        self.answers().await;
    }

    /// Stops it, without ending it.
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    async fn answers(&mut self) {
        let port = self.port;
        self.process.assert_running();
        until(PATIENCE, "Redis to answer", async || {
            let Some(mut talk) = Resp::connect(port).await else { return false };
            talk.ask("PING").await.is_some_and(|answer| answer == "PONG")
        })
        .await;
    }
}

/// Makes an authority and a certificate for localhost in the folder. Returns what a server needs to be
/// reached with it, beside its plain port.
pub(crate) fn tls(folder: &Path) -> Vec<String> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    let authority = format!("req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem");
    let request = format!("req {key} -subj /CN=localhost -keyout redis.key -out redis.csr");
    let sign = "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                -extfile names -out redis.pem";
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    for arguments in [&authority, &request, sign] {
        let mut openssl = Command::new("openssl");
        let made = openssl.current_dir(folder).args(arguments.split_whitespace()).output();
        assert!(made.expect("openssl").status.success(), "{arguments}");
    }
    let port = free_port().to_string();
    fs::write(folder.join("tls-port"), &port).unwrap();
    let file = |name: &str| folder.join(name).display().to_string();
    let pairs = [
        ("--tls-port", port),
        ("--tls-cert-file", file("redis.pem")),
        ("--tls-key-file", file("redis.key")),
        ("--tls-ca-cert-file", file("ca.pem")),
        ("--tls-auth-clients", "no".to_owned()),
    ];
    pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

/// Where the server of [`tls`] listens for TLS.
pub(crate) fn tls_port(folder: &Path) -> u16 {
    fs::read_to_string(folder.join("tls-port")).unwrap().parse().unwrap()
}

/// Starts three masters that share the slots.
pub(crate) async fn cluster(folder: &Path) -> Vec<Redis> {
    let mut masters = Vec::new();
    for number in 0..3 {
        let bus = free_port().to_string();
        let file = format!("nodes-{number}.conf");
        let more = [
            &["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"][..],
            &["--cluster-port", &bus, "--cluster-config-file", &file],
        ];
        masters.push(Redis::start(folder, &more.concat()).await);
    }
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create", "--cluster-yes"]);
    create.args(masters.iter().map(|master| format!("127.0.0.1:{}", master.port)));
    let made = create.output().expect("redis-cli");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for master in &masters {
        until(PATIENCE, "the cluster", async || {
            master.ask("CLUSTER INFO").await.contains("cluster_state:ok")
        })
        .await;
    }
    masters
}

/// A master, its replica, and a sentinel that watches them.
pub(crate) struct Sentinel {
    pub(crate) master: Redis,
    pub(crate) replica: Redis,
    /// Where the sentinel listens.
    pub(crate) port: u16,
    _process: Process,
}

impl Sentinel {
    /// The master's name.
    pub(crate) const NAME: &str = "lethewire";

    /// Starts all three, and waits until the sentinel knows them.
    pub(crate) async fn start(folder: &Path) -> Self {
        let master = Redis::start(folder, &[]).await;
        let of = format!("127.0.0.1 {}", master.port);
        let replica = Redis::start(folder, &["--replicaof", &of]).await;
        until(PATIENCE, "the replica", async || {
            replica.ask("INFO replication").await.contains("master_link_status:up")
        })
        .await;
        let port = free_port();
        let name = Self::NAME;
        let conf = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {name} {of} 1\n\
             sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n"
        );
        let file = folder.join("sentinel.conf");
        fs::write(&file, conf).unwrap();
        let mut command = Command::new("redis-sentinel");
        command.arg(&file);
        let process = Process::start(&command, folder, "sentinel");
        until(PATIENCE, "the sentinel to know the replica", async || {
            let Some(mut talk) = Resp::connect(port).await else { return false };
            let told = talk.ask(&format!("SENTINEL REPLICAS {name}")).await.unwrap_or_default();
            told.contains("master-link-status\nok")
        })
        .await;
        Self { master, replica, port, _process: process }
    }

    /// Lets the replica hear nothing of its master any more: what is written from now on is lost
    /// when the master dies within the next seconds. (Later the sentinel would mend it.)
    pub(crate) async fn part(&self) {
        let nobody = format!("REPLICAOF 127.0.0.1 {}", free_port());
        assert_eq!(self.replica.ask(&nobody).await, "OK");
    }

    /// Waits until the replica is the master.
    pub(crate) async fn failed_over(&self) {
        until(PATIENCE, "the failover", async || {
            // A server that changes its role ends its connections.
            let Some(mut talk) = Resp::connect(self.replica.port).await else { return false };
            talk.ask("ROLE").await.is_some_and(|role| role.starts_with("master"))
        })
        .await;
    }
}
