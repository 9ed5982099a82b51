//! Large messages that one read brings leave together: each of them means what it means alone.

use lethewire::core::id::MemberId;
use lethewire::metrics::Count;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Data, Heard, Member, TestRelay, masked};

/// Not copied into the room's batch.
const LARGE: usize = 9_000;

/// A message as a client says it: `payload` behind its head.
fn message(kind: u8, flags: u8, reference: u8, to: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[kind, flags, 0, reference], to, payload].concat()
}

fn send(flags: u8, reference: u8, payload: &[u8]) -> Vec<u8> {
    message(1, flags, reference, &[], payload)
}

fn direct(to: &str, flags: u8, reference: u8, payload: &[u8]) -> Vec<u8> {
    let to = MemberId::from_base64url(to).unwrap();
    message(2, flags, reference, to.as_bytes(), payload)
}

#[tokio::test]
async fn each_is_heard_in_its_place_by_those_it_is_for() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    let (mut bob, mut carol) = (relay.join(&room).await, relay.join(&room).await);
    for _ in 0..2 {
        alice.control_of("join").await;
    }
    bob.control_of("join").await;

    let both = Member::ECHO | Member::ACK;
    let [for_all, for_carol, volatile, own, late] = [1, 2, 3, 4, 5].map(|byte| vec![byte; LARGE]);
    alice
        .in_one_go([
            send(0, 0, b"first"),
            send(both, 1, &for_all),
            direct(&carol.id(), both, 2, &for_carol),
            direct("AAAAAAAAAAA", both, 3, &own),
            send(Member::VOLATILE, 0, &volatile),
            direct(&alice.id(), both, 4, &own),
            send(0, 0, b"between"),
            send(Member::ACK, 5, &late),
            send(0, 0, b"last"),
        ])
        .await;

    let from = alice.id();
    let data = |flags, seq, payload: &[u8]| Data {
        direct: false,
        flags,
        from: from.clone(),
        seq,
        payload: payload.to_vec(),
    };
    for (seq, payload) in [(4, &b"first"[..]), (5, &for_all)] {
        assert!(bob.data().await == data(0, seq, payload), "{seq}");
        assert!(carol.data().await == data(0, seq, payload), "{seq}");
    }
    assert!(carol.data().await == Data { direct: true, ..data(0, 5, &for_carol) });
    for hearer in [&mut bob, &mut carol] {
        assert!(hearer.data().await == data(Member::VOLATILE, 0, &volatile));
        for (seq, payload) in [(6, &b"between"[..]), (7, &late), (8, b"last")] {
            assert!(hearer.data().await == data(0, seq, payload), "{seq}");
        }
    }
    let expected = [
        data(Member::ECHO, 5, &for_all),
        Data { direct: true, ..data(Member::ECHO, 5, &for_carol) },
        Data { direct: true, ..data(0, 5, &own) },
    ];
    let mut heard = Vec::new();
    while heard.len() < expected.len() {
        if let Heard::Data(data) = alice.hear().await {
            heard.push(data);
        }
    }
    assert!(heard == expected);
    relay.stop().await;
}

#[tokio::test]
async fn each_is_acknowledged_or_refused_under_its_reference() {
    let relay = TestRelay::start(|config| config.limit.messages_per_10s = 4).await;
    let (mut alice, mut bob) = relay.two_members().await;
    let to_nobody = direct("AAAAAAAAAAA", Member::ACK, 2, &[2; LARGE]);
    let large = |reference| send(Member::ACK, reference, &[reference; LARGE]);
    alice.in_one_go([large(1), to_nobody, large(3), large(4), large(5)]).await;
    for reference in [1, 3, 4] {
        assert_eq!(bob.data().await.payload[0], reference);
    }
    let mut told = Vec::new();
    for _ in 0..5 {
        let mut control = alice.control().await;
        let kind = if control["type"] == "error" { "code" } else { "type" };
        let what = control[kind].take();
        told.push((control["ref"].take(), what));
    }
    told.sort_by_key(|(reference, _)| reference.as_u64());
    let expected = ["ack", "no_such_member", "ack", "ack", "rate_limited"];
    let expected: Vec<_> = (1..).zip(expected).map(|(n, what)| (json!(n), json!(what))).collect();
    assert_eq!(told, expected);
    relay.stop().await;
}

#[tokio::test]
async fn each_is_paid_for() {
    let two_of_them = 2 * LARGE as u64;
    let relay = TestRelay::start(|config| config.limit.fanout_bytes_per_10s = two_of_them).await;
    let (mut alice, mut bob) = relay.two_members().await;
    alice.in_one_go((1..=3).map(|n| send(0, n, &[n; LARGE]))).await;
    let error = alice.control_of("error").await;
    assert_eq!((&error["code"], &error["ref"]), (&json!("rate_limited"), &json!(3)));
    for byte in [1, 2] {
        assert!(bob.data().await.payload == [byte; LARGE]);
    }
    alice.leave().await;
    assert_eq!(bob.control().await["type"], "leave");
    relay.stop().await;
}

#[tokio::test]
async fn they_are_heard_before_what_ends_their_sender() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, bob) = relay.two_members().await;
    let unmasked = [0x82, 5, 1, 0, 0, 0, b'x'];
    let large = |byte| masked(0x82, &send(0, 0, &[byte; LARGE]));
    let burst = [large(1), large(2), unmasked.to_vec()].concat();
    bob.into_stream().write_all(&burst).await.unwrap();
    for byte in [1, 2] {
        assert!(alice.data().await.payload == [byte; LARGE]);
    }
    assert_eq!(alice.control().await["type"], "leave");
    relay.stop().await;
}

#[tokio::test]
async fn they_leave_with_one_write_to_each_member() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, mut bob) = relay.two_members().await;
    alice.say(b"nothing else is under way").await;
    bob.data().await;
    let before = relay.count(Count::Writes);
    // Few enough to be one read.
    alice.in_one_go((1..=3).map(|byte| send(0, 0, &[byte; LARGE]))).await;
    for byte in 1..=3 {
        assert!(bob.data().await.payload == [byte; LARGE]);
    }
    assert_eq!(relay.count(Count::Writes) - before, 1);
    relay.stop().await;
}

#[tokio::test]
async fn what_stands_behind_a_message_that_was_cut_is_heard_behind_it() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, bob) = relay.two_members().await;
    let mut stream = bob.into_stream();
    let large = |byte| masked(0x82, &send(0, 0, &vec![byte; 5 * LARGE]));
    let small = masked(0x82, &send(0, 0, b"small"));
    let all = [large(1), large(2), small.clone(), large(3), small].concat();
    // The pieces end in the first message, in the second, behind it, in a head, and at the end.
    let cuts = [LARGE, 3 * LARGE, 8 * LARGE, 2 * large(1).len(), all.len() - LARGE - 3, all.len()];
    let mut from = 0;
    for to in cuts {
        stream.write_all(&all[from..to]).await.unwrap();
        from = to;
        // The relay runs in this thread: now it reads what there is.
        tokio::task::yield_now().await;
    }
    for byte in [1, 2] {
        assert!(alice.data().await.payload == vec![byte; 5 * LARGE]);
    }
    assert_eq!(alice.data().await.payload, b"small");
    assert!(alice.data().await.payload == vec![3; 5 * LARGE]);
    assert_eq!(alice.data().await.payload, b"small");
    relay.stop().await;
}
