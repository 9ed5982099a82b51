//! Members of one thread take turns, however much one of them has to say.

use crate::harness::{Talk, TestRelay, TestRoom, handshake, masked, soon};

/// Large enough to go out as it is read.
const LARGE: usize = 60_000;
/// More than one turn has.
const MESSAGES: usize = 24;

async fn joined(relay: &TestRelay, room: &TestRoom) -> Talk {
    let mut talk = relay.talk().await;
    talk.say(handshake(&relay.token(room).await)).await;
    assert_eq!(soon("an answer", talk.answer()).await.status, 101);
    talk
}

#[tokio::test]
async fn a_stream_of_large_messages_lets_others_have_their_turn() {
    let relay = TestRelay::start(|config| {
        config.server.front_threads = 0;
        config.limit.bytes_per_10s = u32::MAX;
        config.limit.raw_bytes_per_10s = u32::MAX;
        // One of them does not read.
        config.limit.outbox_bytes = 100_000_000;
    })
    .await;
    let room = relay.create_room().await;
    let mut listener = relay.join(&room).await;
    let (mut loud, mut brief) = (joined(&relay, &room).await, joined(&relay, &room).await);
    let large = masked(0x82, &[&[1, 0, 0, 0][..], &[7].repeat(LARGE)].concat());
    for _ in 0..2 {
        listener.control_of("join").await;
    }
    // So that the system lets more of it wait.
    for _ in 0..40 {
        loud.say(&large).await;
        assert_eq!(listener.data().await.payload.len(), LARGE);
    }
    // All of it is there before the relay, which has this thread only, runs again.
    let waiting = loud.say_at_once(&large.repeat(MESSAGES)) / large.len();
    assert!(waiting >= 8, "the system lets no more than {waiting} wait");
    brief.say_at_once(&masked(0x82, &[1, 0, 0, 0, 9]));
    let mut before = 0;
    while listener.data().await.payload[0] == 7 {
        before += 1;
    }
    assert!(before <= waiting / 2, "it waited for {before} of {waiting}");
    relay.stop().await;
}
