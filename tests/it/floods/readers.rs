//! Who does not read, or reads too slowly: it costs the relay its bound, and then nothing.

use super::{BINARY, Scene};
use crate::harness::{Ending, Rogue, TALK_BYTES, masked, within};
use lethewire::core::close::Close;
use lethewire::metrics::Count;

/// What may wait for one member in these tests.
const OUTBOX_BYTES: u32 = 100_000;

/// A scene with a small bound, and a token for a room of its own for whoever does not read.
async fn scene() -> Scene {
    Scene::with(|config| config.limit.outbox_bytes = OUTBOX_BYTES).await
}

/// A room in which one member talks, until it hears that the other one is gone, who does this with
/// its socket after each message. The relay keeps no more for it than its bound.
async fn talk_at(reads: impl AsyncFn(&mut Rogue)) {
    let scene = scene().await;
    let room = scene.relay.create_room().await;
    let mut talker = Rogue::join(scene.relay.addr, &scene.relay.mint(&room.id, "sr")).await;
    let slow = Rogue::connect_narrow(scene.relay.addr).await;
    let mut slow = slow.upgraded(&scene.relay.mint(&room.id, "sr")).await;
    talker.talks_until_a_leave(async || reads(&mut slow).await).await;
    let queued = scene.relay.count(Count::BacklogBytesQueued);
    let most = u64::from(OUTBOX_BYTES) + 2 * TALK_BYTES as u64;
    assert!(queued <= most, "{queued} bytes waited for it");
    scene.relay.until("its end", |now| now.connections == 3).await;
    assert_eq!(scene.relay.totals().closed(Close::SlowConsumer), 1);
    drop((slow, talker));
    scene.ends_well().await;
}

#[tokio::test]
async fn a_member_that_never_reads() {
    talk_at(async |_| ()).await;
}

#[tokio::test]
async fn a_member_that_reads_one_byte_per_message() {
    talk_at(async |slow| assert_eq!(slow.sip(1).await, 1)).await;
}

#[tokio::test]
async fn a_member_that_never_reads_what_it_says_itself() {
    let scene = scene().await;
    let rogue = Rogue::connect_narrow(scene.relay.addr).await;
    let room = scene.relay.create_room().await;
    let mut rogue = rogue.upgraded(&scene.relay.mint(&room.id, "sr")).await;
    let message = masked(BINARY, &[&[1, 2, 0, 0][..], &vec![7; TALK_BYTES]].concat());
    rogue.write(&message.repeat(300)).await;
    // It is no member any more at once; its socket is given the time of a closing handshake.
    within("its leave", scene.relay.until("its leave", |now| now.members == 2)).await;
    scene.relay.until("its end", |now| now.connections == 2).await;
    assert_eq!(scene.relay.totals().closed(Close::SlowConsumer), 1);
    drop(rogue);
    scene.ends_well().await;
}

#[tokio::test]
async fn a_member_that_answers_no_ping() {
    let mut scene = Scene::with(|config| {
        config.heartbeat.ping_interval_ms = 100;
        config.heartbeat.misses = 1;
    })
    .await;
    let mut rogue = scene.rogue("sr").await;
    rogue.frame(0x89).await;
    assert_eq!(rogue.ending().await, Ending::Closed(4203, "heartbeat_lost"));
    scene.pair.goes_on().await;
    drop(rogue);
    scene.ends_well().await;
}

/// Only the kernel sees that nothing moves here.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_never_reads_its_answers() {
    let scene = Scene::with(|config| config.limit.user_timeout_ms = 500).await;
    let rogue = Rogue::connect_narrow(scene.relay.addr).await;
    let requests = "GET /v1/info HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50_000);
    // Taken until the socket is full in both directions; the rest is refused with the reset.
    let mut writing = Box::pin(async {
        let mut rogue = rogue;
        rogue.write(requests.as_bytes()).await;
        rogue
    });
    let rogue = tokio::select! {
        rogue = &mut writing => Some(rogue),
        () = scene.relay.until("its end", |now| now.connections == 2) => None,
    };
    drop((rogue, writing));
    scene.ends_well().await;
}
