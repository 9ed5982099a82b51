//! Three relays that share a Redis, behind a balancer: each is replaced in its turn, while members talk
//! and others come and go. Nobody is refused, and nothing is lost.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Cluster, Crowd, Process, Setup, Visitors, free_port, until};
use crate::size::sized;
use crate::upgrades;
use crate::verdicts::assert_good;

const NODES: usize = 3;
const ROOMS: usize = 4;
const MEMBERS: usize = 6;
/// For what has no limit of its own.
const LONG: Duration = Duration::from_secs(600);
/// Longest time that a member may be away: it is told to come back within a second, and the client
/// adds half of one by itself.
const AWAY_MAX_S: f64 = 5.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_relays_behind_haproxy() {
    const WHAT: &str = "three relays behind HAProxy";
    let environment = [
        ("TRUST_PROXY", "1"),
        ("TRUST_PROXY_FROM", "127.0.0.1/32"),
        // As the file of the proxy asks for.
        ("DRAIN_NOTICE_MS", "2000"),
    ];
    let mut cluster = Cluster::start_with(Setup::Single, NODES, &environment).await;
    let folder = tempfile::tempdir().unwrap();
    let edge = Edge::start(folder.path(), &cluster.addrs()).await;

    let crowd = Crowd::travelling(edge.addr, ROOMS, MEMBERS).await;
    crowd.talk(Duration::from_millis(sized(20, 5)));
    let pace = Duration::from_millis(sized(20, 5));
    let visitors = Visitors::come(&crowd.rooms, edge.addr, 8, pace);
    for turn in 0..sized(1, 3) {
        for node in &mut cluster.nodes {
            crowd.until_acked(sized(300, 20_000), LONG).await;
            node.drain();
            node.ended().await;
            *node = node.successor().await;
            node.ready().await;
            crowd.all_back(MEMBERS).await;
        }
        let ends = crowd.journeys().ends.values().sum::<usize>();
        let least = ROOMS * MEMBERS * (usize::try_from(turn).unwrap() + 1);
        assert!(ends >= least, "everybody moved: {:?}", crowd.journeys());
    }
    crowd.until_acked(sized(300, 20_000), LONG).await;
    let visits = visitors.go().await;
    let journeys = crowd.journeys();
    let verdict = assert_good(WHAT, &crowd.end().await);
    upgrades::report(3, WHAT, &verdict, &journeys, &visits);
    assert_eq!((verdict.gaps, verdict.resets, verdict.pauses), (0, 0, 0), "nothing was lost");
    upgrades::assert_documented(&journeys);
    for refusals in [&journeys.refusals, &visits.refusals] {
        assert!(refusals.is_empty(), "refused: {refusals:?}");
    }
    assert!(visits.welcomed > 100, "that is no load: {visits:?}");
    assert!(journeys.longest_pause() < AWAY_MAX_S, "away for {}", journeys.longest_pause());
    assert!(visits.longest_wait < AWAY_MAX_S, "outside for {}", visits.longest_wait);
}

/// The balancer, with the file of `docs/proxies/`.
struct Edge {
    addr: SocketAddr,
    _process: Process,
}

impl Edge {
    /// In front of these relays, on a free port. What is not tested here is TLS.
    async fn start(folder: &Path, relays: &[SocketAddr]) -> Self {
        const FILE: &str = include_str!("../../docs/proxies/haproxy-nodes.cfg");
        const TLS: &str =
            " ssl crt \"${LETHEWIRE_PEM-/etc/haproxy/relay.example.org.pem}\" alpn http/1.1";
        assert!(FILE.contains(TLS), "the line that binds");
        std::fs::write(folder.join("haproxy.cfg"), FILE.replace(TLS, "")).unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        // Debian has it where only root looks.
        let program = ["/usr/sbin/haproxy", "haproxy"];
        let program = program.into_iter().find(|program| Path::new(program).exists());
        let mut command = Command::new(program.unwrap_or("haproxy"));
        command.args(["-db", "-f", "haproxy.cfg"]).env("LETHEWIRE_BIND", addr.to_string());
        for (relay, number) in relays.iter().zip(1..) {
            command.env(format!("LETHEWIRE_RELAY_{number}"), relay.to_string());
        }
        let mut process = Process::start(&command, folder, "haproxy");
        let is_up = async || {
            process.assert_running();
            tokio::net::TcpStream::connect(addr).await.is_ok()
        };
        until(Duration::from_secs(10), "HAProxy", is_up).await;
        Self { addr, _process: process }
    }
}
