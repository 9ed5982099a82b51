//! One machine, one relay, no Redis: a process takes over from another one while members talk and
//! others come and go. Nobody is refused, and everybody is back after a documented end.

use std::time::Duration;

use lethewire::core::id::to_base64url;

use crate::harness::{Crowd, Node, Visitors, random};
use crate::size::sized;
use crate::upgrades;
use crate::verdicts::assert_good;

const ROOMS: usize = 3;
const MEMBERS: usize = 6;
const HAND_OVERS: usize = 2;
/// For what has no limit of its own.
const LONG: Duration = Duration::from_secs(300);
/// Longest time that a member may be away: it is told to come back within a second, and the client
/// adds half of one by itself; a SYN that was not heard is sent again after another one.
const AWAY_MAX_S: f64 = 8.0;

fn environment(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let secret = to_base64url(&random::<32>());
    let all = more.iter().copied().chain([("JOIN_TOKEN_SECRET", secret.as_str())]);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_passed_socket() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start_passed(folder.path(), "first", &environment(&[])).await;
    hand_over(0, "one machine, passed socket", node, Order::Beside).await;
}

/// Nobody takes connections for a while: they wait in the socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_after_the_other_over_a_passed_socket() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start_passed(folder.path(), "first", &environment(&[])).await;
    hand_over(1, "one machine, passed socket, restart", node, Order::After).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_shared_port() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "first", &environment(&[("REUSE_PORT", "1")])).await;
    hand_over(2, "one machine, shared port", node, Order::Beside).await;
}

/// When the next process starts.
#[derive(Clone, Copy)]
enum Order {
    /// Before the one that it follows is told to stop.
    Beside,
    /// When that one has ended.
    After,
}

async fn hand_over(row: u32, what: &str, mut node: Node, order: Order) {
    let crowd = Crowd::travelling(node.addr, ROOMS, MEMBERS).await;
    crowd.talk(Duration::from_millis(sized(10, 4)));
    let pace = Duration::from_millis(sized(5, 2));
    let visitors = Visitors::come(&crowd.rooms, node.addr, 8, pace);
    crowd.until_acked(sized(500, 20_000), LONG).await;
    for turn in 1..=HAND_OVERS {
        match order {
            Order::Beside => {
                let next = node.successor().await;
                node.drain();
                node.ended().await;
                node = next;
            }
            Order::After => {
                node.drain();
                node.ended().await;
                node = node.successor().await;
            }
        }
        crowd.all_back(MEMBERS).await;
        let ends = crowd.journeys().ends.values().sum::<usize>();
        assert_eq!(ends, turn * ROOMS * MEMBERS, "everybody moved once: {:?}", crowd.journeys());
        crowd.until_acked(sized(500, 20_000), LONG).await;
    }
    let visits = visitors.go().await;
    let journeys = crowd.journeys();
    let verdict = assert_good(what, &crowd.end().await);
    assert_eq!((verdict.gaps, verdict.resets, verdict.pauses), (0, 0, 0), "one order per process");
    upgrades::report(row, what, &verdict, &journeys, &visits);
    upgrades::assert_documented(&journeys);
    // A token of the process before, for a room that this one does not know yet: once more.
    for refusals in [&journeys.refusals, &visits.refusals] {
        assert!(refusals.keys().all(|code| *code == 4101), "refused: {refusals:?}");
    }
    assert!(visits.welcomed > 100, "that is no load: {visits:?}");
    assert!(journeys.longest_pause() < AWAY_MAX_S, "away for {}", journeys.longest_pause());
    assert!(visits.longest_wait < AWAY_MAX_S, "outside for {}", visits.longest_wait);
}
