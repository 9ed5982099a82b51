//! What members hear: who, in which order, with which numbers, and nothing from elsewhere.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Data, Heard, Member, TestRelay, masked, soon};

/// What the others hear of a plain SEND.
fn said(from: &Member, seq: u64, payload: &[u8]) -> Data {
    Data { direct: false, flags: 0, from: from.id(), seq, payload: payload.to_vec() }
}

#[tokio::test]
async fn everyone_in_the_room_hears_it_but_the_speaker_and_other_rooms_do_not() {
    let relay = TestRelay::start(|_| ()).await;
    let (room, elsewhere) = (relay.create_room().await, relay.create_room().await);
    let mut alice = relay.join(&room).await;
    let mut bob = relay.join(&room).await;
    let mut carol = relay.join(&room).await;
    let mut stranger = relay.join(&elsewhere).await;
    let mut other_stranger = relay.join(&elsewhere).await;
    for (member, joins) in [(&mut alice, 2), (&mut bob, 1)] {
        for _ in 0..joins {
            member.control_of("join").await;
        }
    }
    stranger.control_of("join").await;

    alice.say(b"hello").await;
    assert_eq!(bob.data().await, said(&alice, 4, b"hello"));
    assert_eq!(carol.data().await, said(&alice, 4, b"hello"));

    // Silence cannot be waited for, so a later message is the first thing that they hear.
    bob.say(b"hi alice").await;
    assert_eq!(alice.data().await, said(&bob, 5, b"hi alice"));
    other_stranger.say(b"over here").await;
    assert_eq!(stranger.data().await, said(&other_stranger, 3, b"over here"));
    relay.stop().await;
}

#[tokio::test]
async fn joins_and_leaves_are_numbered_in_the_order_of_the_messages() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    assert_eq!(alice.welcome["seq"], 1);
    assert_eq!(alice.welcome["members"], json!([alice.id()]));

    let mut bob = relay.join(&room).await;
    assert_eq!(bob.welcome["seq"], 2);
    assert_eq!(bob.welcome["members"], json!([alice.id(), bob.id()]));
    assert_eq!(bob.welcome["epoch"], alice.welcome["epoch"]);
    let join = json!({ "type": "join", "member": bob.id(), "seq": 2 });
    assert_eq!(alice.control().await, join);

    bob.say(b"x").await;
    assert_eq!(alice.data().await.seq, 3);
    let bob_id = bob.id();
    bob.leave().await;
    let leave = json!({ "type": "leave", "member": bob_id, "seq": 4, "why": "left" });
    assert_eq!(alice.control().await, leave);

    let carol = relay.join(&room).await;
    alice.control_of("join").await;
    let carol_id = carol.id();
    drop(carol.into_stream());
    let lost = json!({ "type": "leave", "member": carol_id, "seq": 6, "why": "lost" });
    assert_eq!(alice.control().await, lost);
    relay.stop().await;
}

#[tokio::test]
async fn a_room_that_emptied_begins_a_new_order() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let first = relay.join(&room).await;
    let epoch = first.welcome["epoch"].clone();
    first.leave().await;
    relay.until("the room is gone", |totals| totals.rooms == 0).await;

    let second = relay.join(&room).await;
    assert_eq!(second.welcome["seq"], 1);
    assert_ne!(second.welcome["epoch"], epoch);
    relay.stop().await;
}

#[tokio::test]
async fn an_ack_tells_the_number_and_an_echo_comes_in_order() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, mut bob) = relay.two_members().await;

    alice.send(Member::ACK | Member::ECHO, 7, b"mine").await;
    let echo = Data { flags: Member::ECHO, ..said(&alice, 3, b"mine") };
    assert_eq!(alice.data().await, echo);
    assert_eq!(alice.control().await, json!({ "type": "ack", "ref": 7, "seq": 3 }));
    assert_eq!(bob.data().await, said(&alice, 3, b"mine"));
    relay.stop().await;
}

#[tokio::test]
async fn a_volatile_message_has_no_number() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, mut bob) = relay.two_members().await;

    alice.send(Member::VOLATILE | Member::ACK, 1, b"cursor").await;
    let heard = Data { flags: Member::VOLATILE, ..said(&alice, 0, b"cursor") };
    assert_eq!(bob.data().await, heard);
    assert_eq!(alice.control().await["seq"], 0);
    alice.say(b"next").await;
    assert_eq!(bob.data().await.seq, 3);
    relay.stop().await;
}

#[tokio::test]
async fn a_direct_message_is_for_one_member_and_takes_no_number() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    let mut bob = relay.join(&room).await;
    let mut carol = relay.join(&room).await;
    for _ in 0..2 {
        alice.control_of("join").await;
    }
    bob.control_of("join").await;

    alice.send_to(&bob.id(), Member::ACK, 9, b"psst").await;
    let direct = Data { direct: true, ..said(&alice, 3, b"psst") };
    assert_eq!(bob.data().await, direct);
    assert_eq!(alice.control().await, json!({ "type": "ack", "ref": 9, "seq": 3 }));
    alice.say(b"all").await;
    assert_eq!(carol.data().await, said(&alice, 4, b"all"));
    relay.stop().await;
}

#[tokio::test]
async fn a_direct_message_to_nobody_is_an_error_that_names_the_reference() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    alice.send_to("AAAAAAAAAAA", 0, 5, b"hello?").await;
    let error = json!({ "type": "error", "code": "no_such_member", "ref": 5 });
    assert_eq!(alice.control().await, error);
    relay.stop().await;
}

#[tokio::test]
async fn large_messages_arrive_as_they_were_sent_and_in_order_with_small_ones() {
    let relay = TestRelay::start(|config| config.limit.bytes_per_10s = u32::MAX / 2).await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    let mut bob = relay.join(&room).await;
    let mut carol = relay.join(&room).await;
    for _ in 0..2 {
        alice.control_of("join").await;
    }
    bob.control_of("join").await;

    let sizes = [65_536, 1, 8_192, 8_191, 3, 40_000, 65_536, 17];
    let pattern = |size: usize, salt: usize| -> Vec<u8> {
        (0..size).map(|i| u8::try_from((i * 31 + salt) % 251).unwrap()).collect()
    };
    for (i, size) in sizes.into_iter().enumerate() {
        alice.send(Member::ECHO | Member::ACK, 0, &pattern(size, i)).await;
    }
    for (i, (size, seq)) in sizes.into_iter().zip(4..).enumerate() {
        let expected = said(&alice, seq, &pattern(size, i));
        assert!(bob.data().await == expected, "{size}");
        assert!(carol.data().await == expected, "{size}");
        assert!(alice.data().await == Data { flags: Member::ECHO, ..expected }, "{size}");
        assert_eq!(alice.control_of("ack").await["seq"], seq);
    }
    bob.send_to(&alice.id(), 0, 0, &pattern(20_000, 0)).await;
    let direct = Data { direct: true, ..said(&bob, 11, &pattern(20_000, 0)) };
    assert!(alice.data().await == direct);
    relay.stop().await;
}

/// Every member sends at once; all of them see one order, complete and without a double.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_members_see_one_order_whatever_happens_at_the_same_time() {
    const MEMBERS: u64 = 12;
    const MESSAGES: u64 = 200;
    let relay = TestRelay::start(|config| {
        config.limit.messages_per_10s = 100_000;
        config.limit.frames_per_10s = 100_000;
        config.limit.outbox_frames = 100_000;
        config.limit.outbox_bytes = 100_000_000;
        config.limit.raw_bytes_per_10s = 1_000_000_000;
        config.limit.bytes_per_10s = 1_000_000_000;
    })
    .await;
    let room = relay.create_room().await;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(relay.join(&room).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (i, mut member) in members.into_iter().enumerate() {
        tasks.spawn(async move {
            let size = if i % 4 == 0 { 9_000 } else { 10 };
            for _ in 0..MESSAGES {
                member.send(Member::ECHO, 0, &vec![u8::try_from(i).unwrap(); size]).await;
            }
            let mut heard = Vec::new();
            while heard.len() < usize::try_from(MEMBERS * MESSAGES).unwrap() {
                match member.hear().await {
                    Heard::Data(data) => heard.push((data.seq, data.from, data.payload[0])),
                    Heard::Control(control) => assert_eq!(control["type"], "join"),
                    other => panic!("{other:?}"),
                }
            }
            heard
        });
    }
    let mut logs = Vec::new();
    while let Some(log) = soon("everybody's log", tasks.join_next()).await {
        logs.push(log.unwrap());
    }
    for log in &logs {
        assert!(*log == logs[0], "two orders");
    }
    let numbers: Vec<u64> = logs[0].iter().map(|(seq, ..)| *seq).collect();
    assert_eq!(numbers, (MEMBERS + 1..=MEMBERS + MEMBERS * MESSAGES).collect::<Vec<_>>());
    relay.stop().await;
}

/// Joins and leaves while others speak: a member's roster, computed from what it hears, is that of
/// everybody else at the same number.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rosters_agree_at_every_number() {
    let relay = TestRelay::start(|config| {
        config.limit.connections_per_address = 1000;
    })
    .await;
    let room = relay.create_room().await;
    let mut watcher = relay.join(&room).await;
    let mut tasks = tokio::task::JoinSet::new();
    let mut tokens = Vec::new();
    for _ in 0..30 {
        tokens.push(relay.token(&room).await);
    }
    let relay = std::sync::Arc::new(relay);
    for token in tokens {
        let relay = std::sync::Arc::clone(&relay);
        tasks.spawn(async move {
            let mut member = relay.join_with(&token).await;
            member.send(Member::ECHO, 0, b"here").await;
            loop {
                if let Heard::Data(data) = member.hear().await
                    && data.from == member.id()
                {
                    break;
                }
            }
            let (seq, members) = (member.welcome["seq"].clone(), member.welcome["members"].clone());
            member.leave().await;
            (seq.as_u64().unwrap(), members)
        });
    }
    let mut roster = vec![watcher.id()];
    let mut at = std::collections::BTreeMap::new();
    let mut expected_seq = 1;
    let mut leaves = 0;
    while leaves < 30 {
        match watcher.hear().await {
            Heard::Data(data) => {
                expected_seq += 1;
                assert_eq!(data.seq, expected_seq);
                assert!(roster.contains(&data.from), "speaks while not there");
            }
            Heard::Control(control) => {
                expected_seq += 1;
                assert_eq!(control["seq"], expected_seq);
                let member = control["member"].as_str().unwrap().to_owned();
                if control["type"] == "join" {
                    roster.push(member);
                } else {
                    roster.retain(|other| *other != member);
                    leaves += 1;
                }
            }
            other => panic!("{other:?}"),
        }
        let mut sorted = roster.clone();
        sorted.sort();
        at.insert(expected_seq, sorted);
    }
    while let Some(welcomed) = soon("everybody", tasks.join_next()).await {
        let (seq, members) = welcomed.unwrap();
        let mut members: Vec<_> =
            members.as_array().unwrap().iter().map(|m| m.as_str().unwrap().to_owned()).collect();
        members.sort();
        assert_eq!(at[&seq], members);
    }
    std::sync::Arc::into_inner(relay).unwrap().stop().await;
}

#[tokio::test]
async fn capabilities_are_kept() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut speaker = relay.join_with(&relay.mint(&room.id, "s")).await;
    let mut listener = relay.join_with(&relay.mint(&room.id, "r")).await;
    let mut member = relay.join(&room).await;
    listener.control_of("join").await;

    member.say(b"for those who may").await;
    assert_eq!(listener.data().await.payload, b"for those who may");
    // The speaker hears nothing of the room, only what is for itself.
    member.send_to(&speaker.id(), 0, 1, b"not even this").await;
    assert_eq!(member.control_of("error").await["code"], "no_such_member");
    speaker.send(Member::ACK, 2, b"from afar").await;
    assert_eq!(speaker.control_of("ack").await["ref"], 2);
    assert_eq!(listener.data().await.payload, b"from afar");

    listener.say(b"I may not").await;
    assert_eq!(listener.closed().await, (4006, "not_permitted".to_owned()));
    relay.stop().await;
}

#[tokio::test]
async fn the_owner_rules_over_the_websocket() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut owner = relay.join_as_owner(&room).await;
    let mut bob = relay.join(&room).await;
    let mut carol = relay.join(&room).await;
    owner.control_of("join").await;
    owner.control_of("join").await;
    bob.control_of("join").await;

    bob.tell(&json!({ "type": "owner", "op": "lock" })).await;
    let error = bob.control_of("error").await;
    assert_eq!(error["code"], "not_permitted");

    let token = relay.token(&room).await;
    owner.tell(&json!({ "type": "owner", "op": "lock" })).await;
    for member in [&mut owner, &mut bob, &mut carol] {
        assert_eq!(member.control_of("room").await["locked"], true);
    }
    assert_eq!(relay.refused_with(&token).await, (4003, "room_locked".to_owned()));

    owner.tell(&json!({ "type": "owner", "op": "kick", "member": bob.id() })).await;
    let (bob_id, why) = (bob.id(), "kicked");
    assert_eq!(bob.closed().await, (4004, why.to_owned()));
    for member in [&mut owner, &mut carol] {
        let leave = member.control_of("leave").await;
        assert!(leave["member"] == bob_id.as_str() && leave["why"] == why);
    }
    owner.tell(&json!({ "type": "owner", "op": "kick", "member": bob_id })).await;
    assert_eq!(owner.control_of("error").await["code"], "no_such_member");

    owner.tell(&json!({ "type": "owner", "op": "close" })).await;
    for mut member in [owner, carol] {
        member.control_of("closed").await;
        assert_eq!(member.closed().await, (4002, "room_closed".to_owned()));
    }
    let answer = relay.post("/v1/rooms", &room.creation(json!(null))).await;
    answer.assert_problem(410, "room-closed");
    relay.stop().await;
}

#[tokio::test]
async fn a_ping_of_the_application_is_answered() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let mut alice = relay.join(&room).await;
    alice.tell(&json!({ "type": "ping", "n": 41 })).await;
    assert_eq!(alice.control().await, json!({ "type": "pong", "n": 41 }));
    relay.stop().await;
}

#[tokio::test]
async fn what_is_said_before_a_leave_is_heard() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, mut bob) = relay.two_members().await;
    for i in 0..50_u8 {
        bob.say(&[i]).await;
    }
    bob.leave().await;
    for i in 0..50_u8 {
        assert_eq!(alice.data().await.payload, [i]);
    }
    assert_eq!(alice.control_of("leave").await["why"], "left");
    relay.stop().await;
}

#[tokio::test]
async fn what_is_said_before_a_kick_is_heard_by_the_kicked() {
    let relay = TestRelay::start(|_| ()).await;
    let room = relay.create_room().await;
    let owner = relay.join_as_owner(&room).await;
    let mut bob = relay.join(&room).await;
    let kick = json!({ "type": "owner", "op": "kick", "member": bob.id() }).to_string();
    // In one write, so that the message still waits for its flush when the kick is read.
    let both = [masked(0x82, &[1, 0, 0, 0, b'x']), masked(0x81, kick.as_bytes())].concat();
    owner.into_stream().write_all(&both).await.unwrap();
    assert_eq!(bob.data().await.payload, b"x");
    assert_eq!(bob.closed().await, (4004, "kicked".to_owned()));
    relay.stop().await;
}

#[tokio::test]
async fn a_large_message_arrives_whole_however_it_is_cut() {
    let relay = TestRelay::start(|_| ()).await;
    let (mut alice, bob) = relay.two_members().await;
    let payload: Vec<u8> = (0..60_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let len = u16::try_from(payload.len() + 4).unwrap().to_be_bytes();
    let head = [0x82, 0xFE, len[0], len[1], 0, 0, 0, 0, 1, 0, 0, 0];
    let mut stream = bob.into_stream();
    for piece in [&head[..], &payload].concat().chunks(700) {
        stream.write_all(piece).await.unwrap();
        // The relay runs in this thread: now it reads what there is.
        tokio::task::yield_now().await;
    }
    assert!(alice.data().await.payload == payload);
    relay.stop().await;
}
