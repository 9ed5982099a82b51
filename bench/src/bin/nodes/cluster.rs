//! Redis servers and relays on them, and what they have cost.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lethewire_bench::process::{Server, free_port};
use lethewire_bench::{Fault, peers};

/// Secrets of a benchmark on loopback; they have to be long, not secret.
const SECRETS: [(&str, &str); 2] = [
    ("JOIN_TOKEN_SECRET", "kQ7vY2mXw9RtZ4pLs8NbHc3JfGd6AeUu1iTo5Bx0VEs="),
    ("CLUSTER_SECRET", "Zr5tQ8nWm2XvK7pLc4JbHs9RfGd3AeYu6iTo1Bx0VEk="),
];

/// How many of what there are, and where they run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    /// Relays.
    pub(crate) nodes: usize,
    /// Redis servers; with none, there is one relay that keeps its rooms for itself.
    pub(crate) shards: usize,
    /// Cores of the relays.
    pub(crate) node_cores: &'a str,
    /// Cores of Redis.
    pub(crate) redis_cores: &'a str,
}

/// Running servers. Relays end before Redis.
pub(crate) struct Cluster {
    nodes: Vec<Server>,
    redis: Vec<Server>,
}

/// What all servers have cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// CPU time of the relays, in seconds.
    pub(crate) nodes_s: f64,
    /// CPU time of Redis, in seconds.
    pub(crate) redis_s: f64,
    /// Calls of scripts.
    pub(crate) calls: f64,
    /// Microseconds in scripts, as Redis counts them.
    pub(crate) script_us: f64,
}

impl Cluster {
    /// Starts everything and waits until all relays are ready.
    pub(crate) fn start(shape: Shape<'_>, program: &Path) -> Result<Self, Fault> {
        let log = |name: &str| std::env::temp_dir().join(format!("lethewire-nodes-{name}.log"));
        let mut cluster = Self { nodes: Vec::new(), redis: Vec::new() };
        for number in 0..shape.shards {
            let port = free_port()?;
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command.args(["--appendonly", "no", "--client-output-buffer-limit"]);
            command.arg("pubsub 256mb 64mb 60");
            let log = log(&format!("redis-{number}"));
            cluster.redis.push(Server::start(&command, shape.redis_cores, port, &log)?);
        }
        let urls = cluster.redis.iter().map(|server| format!("redis://{}", server.addr()));
        let urls = urls.collect::<Vec<_>>().join(",");
        let threads = shape.node_cores.split(',').count().to_string();
        for number in 0..shape.nodes {
            let port = free_port()?;
            let mut command = peers::relay(program, port);
            command.env("WORKER_THREADS", &threads);
            match shape.shards {
                0 => {}
                1 => drop(command.envs(SECRETS).env("WARM_UP_S", "0").env("REDIS_URL", &urls)),
                _ => drop(command.envs(SECRETS).env("WARM_UP_S", "0").env("REDIS_SHARDS", &urls)),
            }
            let log = log(&format!("node-{number}"));
            cluster.nodes.push(Server::start(&command, shape.node_cores, port, &log)?);
        }
        for addr in cluster.addrs() {
            ready(addr)?;
        }
        Ok(cluster)
    }

    /// Where the relays listen.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Server::addr).collect()
    }

    /// What all have cost so far.
    pub(crate) fn cost(&self) -> Result<Cost, Fault> {
        let mut cost = Cost::default();
        for node in &self.nodes {
            cost.nodes_s += node.cpu_s()?;
        }
        for redis in &self.redis {
            cost.redis_s += redis.cpu_s()?;
            let said = info(redis.addr())?;
            // cmdstat_evalsha:calls=21,usec=175,usec_per_call=8.33,…
            for line in said.lines().filter(|line| line.starts_with("cmdstat_evalsha:")) {
                let value = |name: &str| {
                    let found = line.split([',', ':']).find_map(|pair| pair.strip_prefix(name));
                    found.and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0)
                };
                cost.calls += value("calls=");
                cost.script_us += value("usec=");
            }
        }
        Ok(cost)
    }
}

impl Cost {
    /// What it has cost since then.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            nodes_s: self.nodes_s - before.nodes_s,
            redis_s: self.redis_s - before.redis_s,
            calls: self.calls - before.calls,
            script_us: self.script_us - before.script_us,
        }
    }
}

/// Asks until the relay says that it is ready.
fn ready(addr: SocketAddr) -> Result<(), Fault> {
    const TRIES: u32 = 200;
    for _ in 0..TRIES {
        let mut stream = TcpStream::connect(addr)?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("a relay is not ready".into())
}

/// `INFO commandstats`.
fn info(addr: SocketAddr) -> Result<String, Fault> {
    let mut stream = BufReader::new(TcpStream::connect(addr)?);
    stream.get_mut().write_all(b"INFO commandstats\r\n")?;
    let mut head = String::new();
    stream.read_line(&mut head)?;
    let length = head.trim().strip_prefix('$').ok_or("no bulk string")?.parse::<usize>()?;
    let mut said = vec![0; length];
    stream.read_exact(&mut said)?;
    Ok(String::from_utf8(said)?)
}
