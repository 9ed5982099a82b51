//! Sockets that are torn down at every stage of a connection, in every way.

use super::{BINARY, Scene};
use crate::harness::{JSON, Rogue, handshake, masked, within};

/// How a socket ends.
#[derive(Clone, Copy, Debug)]
enum Tear {
    /// Both directions, in order.
    Close,
    /// The writing direction first; the rest when the relay has ended its own.
    Half,
    /// With a reset.
    Reset,
}

/// What is written before the end: to a socket that has not said anything, or behind a handshake.
fn stages(token: &str) -> Vec<(&'static str, bool, Vec<u8>)> {
    let whole = handshake(token);
    let half = &whole.as_bytes()[..whole.len() / 2];
    let body = format!("POST /v1/rooms HTTP/1.1\r\nHost: a\r\n{JSON}Content-Length: 9\r\n\r\n{{");
    let with_frame = [whole.as_bytes(), &masked(BINARY, &[1, 0, 0, 0, 7])].concat();
    vec![
        ("nothing", false, Vec::new()),
        ("half a head", false, half.to_vec()),
        ("half a body", false, body.into_bytes()),
        ("a request", false, b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("a handshake", false, whole.into_bytes()),
        ("a handshake with a frame", false, with_frame),
        ("a bad token", false, handshake("x").into_bytes()),
        ("its welcome", true, Vec::new()),
        ("half a frame's head", true, vec![BINARY]),
        ("half a frame", true, masked(BINARY, &[1; 100])[..50].to_vec()),
        ("half a large frame", true, [&[BINARY, 0xFE, 0xFF, 0xFF][..], &vec![0; 30_000]].concat()),
        ("a fragment", true, masked(0x02, &[1, 0, 0, 0, 7])),
        ("a message", true, masked(BINARY, &[1, 1, 0, 0, 7])),
        ("a ping", true, masked(0x89, b"x")),
        ("a close frame", true, masked(0x88, b"")),
        ("a leave", true, masked(0x81, br#"{"type":"leave"}"#)),
        ("what breaks the framing", true, vec![0xFF; 100]),
    ]
}

async fn tear(tear: Tear) {
    let mut scene = Scene::with(|_| ()).await;
    for stage in 0..stages("").len() {
        let token = scene.token("sr");
        let (what, joins_first, bytes) = stages(&token).swap_remove(stage);
        let mut rogue = if joins_first {
            scene.rogue("sr").await
        } else {
            Rogue::connect(scene.relay.addr).await
        };
        rogue.write(&bytes).await;
        match tear {
            Tear::Close => drop(rogue),
            Tear::Reset => rogue.reset(),
            Tear::Half => {
                rogue.half_close().await;
                within(what, async { while rogue.sip(4096).await > 0 {} }).await;
            }
        }
        within(what, scene.relay.until(what, |now| (now.connections, now.members) == (2, 2))).await;
        scene.pair.goes_on().await;
    }
    scene.ends_well().await;
}

#[tokio::test]
async fn sockets_closed_at_every_stage() {
    tear(Tear::Close).await;
}

#[tokio::test]
async fn sockets_half_closed_at_every_stage() {
    tear(Tear::Half).await;
}

#[tokio::test]
async fn sockets_reset_at_every_stage() {
    tear(Tear::Reset).await;
}
