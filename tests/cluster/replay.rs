//! A token is good once, for all nodes together.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Cluster, Room, Setup, State, open, soon};

const NODES: usize = 3;
const SOCKETS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_on_many_sockets_lets_one_in() {
    for setup in [Setup::Single, Setup::Cluster] {
        let cluster = Cluster::start(setup, NODES).await;
        let addrs = cluster.addrs();
        let room = Room::create(addrs[0]).await;
        let token = Arc::new(room.token(addrs[1]).await);
        let start = Arc::new(Barrier::new(SOCKETS));
        let mut sockets = JoinSet::new();
        for number in 0..SOCKETS {
            let (addr, token, start) =
                (addrs[number % NODES], Arc::clone(&token), Arc::clone(&start));
            sockets.spawn(async move {
                start.wait().await;
                let mut socket = open(addr, &token).await.expect("an upgrade");
                match soon("a first word", socket.next()).await {
                    // Whoever is in stays, so that nobody takes its place.
                    Some(Ok(Message::Text(_))) => (0, Some(socket)),
                    Some(Ok(Message::Close(Some(frame)))) => (frame.code.into(), None),
                    other => panic!("neither in nor out: {other:?}"),
                }
            });
        }
        let codes: Vec<(u16, _)> = soon("all of them", sockets.join_all()).await;
        let inside = codes.iter().filter(|(code, _)| *code == 0).count();
        let used = codes.iter().filter(|(code, _)| *code == 4104).count();
        assert_eq!((inside, used), (1, SOCKETS - 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_nobody_is_let_in() {
    let cluster = Cluster::start(Setup::Single, 2).await;
    let addrs = cluster.addrs();
    let room = Room::create(addrs[0]).await;
    let tokens = [room.token(addrs[0]).await, room.token(addrs[1]).await];
    cluster.links[0].set(State::Cut);
    let refused = match open(addrs[0], &tokens[0]).await {
        Err(status) => status,
        Ok(mut socket) => match soon("the end", socket.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
            other => panic!("let in, or nothing: {other:?}"),
        },
    };
    assert!([503, 1013].contains(&refused), "{refused}");
    crate::harness::until(Duration::from_secs(10), "/ready to say so", async || {
        cluster.nodes[0].status_of("/ready").await == 503
    })
    .await;
    assert_eq!(cluster.nodes[0].status_of("/live").await, 200);
    assert_eq!(cluster.nodes[1].status_of("/ready").await, 200, "the other has its Redis");
    open(addrs[1], &tokens[1]).await.expect("an upgrade");
    cluster.links[0].set(State::Open(Duration::ZERO));
    cluster.nodes[0].ready().await;
}
