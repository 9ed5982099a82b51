//! One fault per test, while everybody talks: what members see, how long until order is back, and
//! that nothing is lost without a word. A fault lasts until it is felt.

use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::{Cluster, Crowd, Setup, Standing, State, Watch, join};
use crate::size::sized;
use crate::verdicts::{assert_good, report};

const NODES: usize = 3;
const ROOMS: usize = 3;
const PER_NODE: usize = 2;
/// Order is back so soon after what was broken works again.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// The members of a node that died leave so soon.
const GONE_WITHIN: Duration = Duration::from_secs(15);
/// A broken link is felt so soon.
const FELT_WITHIN: Duration = Duration::from_secs(10);
/// For what has no limit of its own.
const LONG: Duration = Duration::from_secs(300);

/// Nodes, members who talk, and how much they have said.
struct Story {
    cluster: Cluster,
    crowd: Crowd,
    addrs: Vec<SocketAddr>,
}

impl Story {
    async fn begin(setup: Setup) -> Self {
        let cluster = Cluster::start(setup, NODES).await;
        let addrs = cluster.addrs();
        let crowd = Crowd::gather(&addrs, ROOMS, PER_NODE).await;
        crowd.talk(Duration::from_millis(sized(10, 4)));
        let story = Self { cluster, crowd, addrs };
        story.goes_on().await;
        story
    }

    /// Messages are accepted as if nothing were.
    async fn goes_on(&self) {
        self.crowd.until_acked(sized(500, 20_000), LONG).await;
    }

    /// Waits until all members of these nodes were told that the order is interrupted.
    async fn felt_at(&self, nodes: &[usize]) {
        let feels = |member: &Standing| !nodes.contains(&member.node) || member.pauses > 0;
        self.crowd.until_all(FELT_WITHIN, "members to be told", feels).await;
    }

    /// It works again: how long until everybody is in order. Nobody was sent away meanwhile.
    async fn recovers(&self) -> f64 {
        let seconds = self.crowd.in_order(BACK_WITHIN).await;
        self.goes_on().await;
        seconds
    }

    /// Ends it, judges it, and writes its line of the table.
    async fn end(self, order: u32, fault: &str, seconds: f64) -> crate::checker::Verdict {
        let everybody = self.crowd.living().len();
        let verdict = assert_good(fault, &self.crowd.end().await);
        report(order, fault, &verdict, Some(seconds));
        assert!(everybody > 0);
        drop(self.cluster);
        verdict
    }

    /// The same, where every member stayed connected.
    async fn end_with_all(self, order: u32, fault: &str, seconds: f64) {
        assert_eq!(self.crowd.living().len(), NODES * ROOMS * PER_NODE, "{fault}: all stay");
        let verdict = self.end(order, fault, seconds).await;
        assert_eq!(verdict.ends.values().sum::<u64>(), 0, "{fault}: nobody was sent away");
    }
}

impl Story {
    /// The members of node 1 have left for the others, and their names are used up: as soon as their
    /// node is back they are told to join again, and do.
    async fn the_dead_come_again(mut self, order: u32, fault: &str) {
        let watch = Watch::start();
        let are_gone = |member: &Standing| member.node != 1;
        self.crowd.until_all(BACK_WITHIN, "the members taken for gone to be told", are_gone).await;
        for room in 0..ROOMS {
            for _ in 0..PER_NODE {
                self.crowd.add(room, 1, self.addrs[1]).await.expect("let in again");
            }
        }
        self.recovers().await;
        let seconds = watch.seconds();
        let is_whole = |member: &Standing| member.members == NODES * PER_NODE;
        self.crowd.until_all(BACK_WITHIN, "everybody to see everybody", is_whole).await;
        let verdict = self.end(order, fault, seconds).await;
        assert_eq!(verdict.ends.get(&4205), Some(&((ROOMS * PER_NODE) as u64)), "they are told");
        assert_eq!(verdict.resets, 0, "the others' order goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back_empty() {
    let mut story = Story::begin(Setup::Single).await;
    story.cluster.redis[0].kill();
    story.felt_at(&[0, 1, 2]).await;
    let refused = story.crowd.add(0, 0, story.addrs[0]).await;
    assert!(matches!(refused, Err(503 | 1013)), "joining meanwhile: {refused:?}");
    story.cluster.redis[0].restart().await;
    let seconds = story.recovers().await;
    story.crowd.add(0, 1, story.addrs[1]).await.expect("the room is known again");
    let verdict = story.end(10, "Redis: kill -9, restart", seconds).await;
    assert!(verdict.resets > 0, "a new order");
    assert_eq!(verdict.ends.values().sum::<u64>(), 0, "nobody was sent away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_back_before_anybody_looks() {
    let mut story = Story::begin(Setup::Single).await;
    story.cluster.redis[0].kill();
    story.cluster.redis[0].restart().await;
    let seconds = story.recovers().await;
    story.end_with_all(11, "Redis: kill -9, restart at once", seconds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_forgets_everything() {
    let story = Story::begin(Setup::Single).await;
    assert_eq!(story.cluster.redis[0].ask("FLUSHALL").await, "OK");
    let seconds = story.recovers().await;
    story.end_with_all(12, "FLUSHALL", seconds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stops_and_goes_on() {
    let story = Story::begin(Setup::Single).await;
    story.cluster.redis[0].freeze();
    story.felt_at(&[0, 1, 2]).await;
    story.cluster.redis[0].thaw();
    let seconds = story.recovers().await;
    story.end_with_all(13, "Redis: SIGSTOP until it is felt", seconds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_fails_over_and_writes_are_lost() {
    let mut story = Story::begin(Setup::Sentinel).await;
    let sentinel = story.cluster.sentinel.as_mut().expect("started");
    sentinel.part().await;
    // These are in the master only.
    story.crowd.until_acked(300, LONG).await;
    sentinel.master.kill();
    let failover = Watch::start();
    sentinel.failed_over().await;
    println!("chaos: the sentinel took {:.1} s", failover.seconds());
    let seconds = story.recovers().await;
    story.end_with_all(14, "Sentinel failover with lost writes", seconds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_a_redis_cluster_is_killed_and_comes_back_empty() {
    let mut story = Story::begin(Setup::Cluster).await;
    let mut sizes = Vec::new();
    for master in &story.cluster.redis {
        sizes.push(master.ask("DBSIZE").await.parse::<u64>().expect("a number"));
    }
    // That of most rooms.
    let victim = (0..sizes.len()).max_by_key(|&master| sizes[master]).expect("three");
    story.cluster.redis[victim].kill();
    story.cluster.redis[victim].restart().await;
    let seconds = story.recovers().await;
    story.end_with_all(15, "Redis Cluster: kill -9 of a master, restart", seconds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_cut_off_from_redis() {
    let story = Story::begin(Setup::Single).await;
    story.cluster.links[1].set(State::Cut);
    story.felt_at(&[1]).await;
    story.goes_on().await;
    story.cluster.links[1].set(State::Open(Duration::ZERO));
    let seconds = story.recovers().await;
    story.end_with_all(20, "node and Redis: connections cut", seconds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_nothing_of_redis() {
    let story = Story::begin(Setup::Single).await;
    story.cluster.links[1].set(State::Clogged);
    story.felt_at(&[1]).await;
    story.cluster.links[1].set(State::Open(Duration::ZERO));
    let seconds = story.recovers().await;
    story.end_with_all(21, "node and Redis: every packet lost", seconds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_cut_off_for_so_long_that_its_members_are_taken_for_gone() {
    let story = Story::begin(Setup::Single).await;
    story.cluster.links[1].set(State::Cut);
    let is_alone = |member: &Standing| member.node == 1 || member.members == (NODES - 1) * PER_NODE;
    story.crowd.until_all(GONE_WITHIN, "the others to see them leave", is_alone).await;
    let tells = |node: usize| story.cluster.nodes[node].said().contains("Redis is not reached");
    assert_eq!(
        (tells(0), tells(1)),
        (false, true),
        "operators are told at the node that is cut off"
    );
    story.cluster.links[1].set(State::Open(Duration::ZERO));
    story.the_dead_come_again(22, "node and Redis: cut until the node counts as dead").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_redis_is_slow() {
    let story = Story::begin(Setup::Single).await;
    for link in &story.cluster.links[..2] {
        link.set(State::Open(Duration::from_millis(150)));
    }
    let seconds = story.recovers().await;
    let verdict = story.end(23, "node and Redis: 150 ms each way", seconds).await;
    assert_eq!((verdict.gaps, verdict.resets, verdict.pauses), (0, 0, 0), "slow is not broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed() {
    let mut story = Story::begin(Setup::Single).await;
    story.cluster.nodes[2].kill();
    let watch = Watch::start();
    let are_gone = |member: &Standing| member.node != 2 && member.members == (NODES - 1) * PER_NODE;
    story.crowd.until_all(GONE_WITHIN, "its members to leave", are_gone).await;
    let seconds = watch.seconds();
    for room in 0..ROOMS {
        story.crowd.add(room, 0, story.addrs[0]).await.expect("let in elsewhere");
    }
    story.recovers().await;
    let verdict = story.end(30, "node: kill -9", seconds).await;
    assert_eq!((verdict.gaps, verdict.resets), (0, 0), "the others lost nothing");
    assert_eq!(verdict.ends.get(&0), Some(&((ROOMS * PER_NODE) as u64)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed_and_started_again() {
    let mut story = Story::begin(Setup::Single).await;
    story.cluster.nodes[2].restart().await;
    story.cluster.nodes[2].ready().await;
    let again = story.cluster.nodes[2].addr;
    for room in 0..ROOMS {
        story.crowd.add(room, 2, again).await.expect("let in");
    }
    let watch = Watch::start();
    let is_whole = |member: &Standing| member.members == (NODES - 1) * PER_NODE + 1;
    story.crowd.until_all(GONE_WITHIN, "the ghosts to leave", is_whole).await;
    let seconds = watch.seconds();
    story.recovers().await;
    let verdict = story.end(31, "node: kill -9, restart", seconds).await;
    assert_eq!((verdict.gaps, verdict.resets), (0, 0), "the others lost nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_and_goes_on() {
    let story = Story::begin(Setup::Single).await;
    story.cluster.nodes[1].freeze();
    let are_gone = |member: &Standing| member.node == 1 || member.members == (NODES - 1) * PER_NODE;
    story.crowd.until_all(GONE_WITHIN, "its members to leave", are_gone).await;
    story.cluster.nodes[1].thaw();
    story.the_dead_come_again(32, "node: SIGSTOP until it counts as dead").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_jump_by_an_hour() {
    let story = Story::begin(Setup::Single).await;
    let clocks = &story.cluster.clocks;
    let clock = |node: usize| clocks[node].as_ref().expect("libfaketime is installed");
    clock(1).jump("+3600");
    clock(2).jump("-3600");
    story.goes_on().await;
    // Whoever asks a node for a token is let in there: the clock that mints is the one that checks.
    let mut story = story;
    for node in 0..NODES {
        story.crowd.add(0, node, story.addrs[node]).await.expect("let in");
    }
    let room = story.crowd.rooms[0].clone();
    let early = room.token(story.addrs[1]).await;
    let refused = join(story.addrs[2], &early, (0, 2, 99)).await;
    assert_eq!(refused.err(), Some(4101), "the clocks are really apart");
    let seconds = story.recovers().await;
    let verdict = story.end(40, "clocks of two nodes: +1 h and -1 h", seconds).await;
    assert_eq!((verdict.gaps, verdict.resets, verdict.pauses), (0, 0, 0), "no clock is trusted");
    assert_eq!(verdict.ends.values().sum::<u64>(), 0, "nobody was sent away");
}
