//! A handshake that is there before its connection is looked at is answered like any other.

use std::io::Write as _;

use lethewire::metrics::Count;

use crate::harness::{Answered, Talk, TestRelay, TestRoom, handshake, masked, soon};

/// Says it before the relay, which has this thread only, can run.
fn at_once(relay: &TestRelay, bytes: &[u8]) -> Talk {
    let mut stream = std::net::TcpStream::connect(relay.addr).unwrap();
    stream.write_all(bytes).unwrap();
    stream.set_nonblocking(true).unwrap();
    Talk::over(tokio::net::TcpStream::from_std(stream).unwrap())
}

/// Says nothing, and the relay has it.
async fn silent(relay: &TestRelay) -> Talk {
    let before = relay.count(Count::ConnectionsAccepted);
    let talk = relay.talk().await;
    relay.until("the connection", |now| now.count(Count::ConnectionsAccepted) > before).await;
    talk
}

/// Says it in two parts, of which the relay has read the first.
async fn late(relay: &TestRelay, bytes: &[u8]) -> Talk {
    let before = relay.count(Count::ConnectionsAccepted);
    let (first, rest) = bytes.split_at(20);
    let mut talk = relay.talk().await;
    talk.say(first).await;
    relay.until("the connection", |now| now.count(Count::ConnectionsAccepted) > before).await;
    talk.say(rest).await;
    talk
}

/// What does not differ from answer to answer.
fn lasting(answer: &Answered) -> (u16, Vec<(String, String)>, String) {
    let mut fields = answer.headers.clone();
    fields.retain(|(name, _)| name != "date" && name != "x-request-id");
    fields.sort();
    (answer.status, fields, answer.text())
}

#[tokio::test]
async fn a_handshake_that_is_there_at_once_is_answered_as_one_that_comes_late() {
    let relay = TestRelay::start(|config| config.server.front_threads = 0).await;
    let room = relay.create_room().await;
    let changes: [fn(String) -> String; 6] = [
        |head| head,
        |head| head.replace(": 13", ": 12"),
        |head| head.replace("\r\n\r\n", "\r\nOrigin: https://stranger.example\r\n\r\n"),
        |head| head.replace("\r\n\r\n", "\r\nOrigin: http://localhost:1\r\n\r\n"),
        |head| head.replace("Host: relay.example\r\n", ""),
        |head| head.replace("bearer.", "bearer.x"),
    ];
    for (change, status) in changes.into_iter().zip([101, 426, 403, 101, 400, 101]) {
        let (one, other) = (relay.token(&room).await, relay.token(&room).await);
        let mut early = at_once(&relay, change(handshake(&one)).as_bytes());
        let early = soon("an answer", early.answer()).await;
        let mut late = late(&relay, change(handshake(&other)).as_bytes()).await;
        let late = soon("an answer", late.answer()).await;
        assert_eq!(late.status, status);
        assert_eq!(lasting(&early), lasting(&late));
        // Which only an answer of the library has to have.
        assert_eq!(
            (early.header("date").is_none(), late.header("date").is_none()),
            (status == 101, false)
        );
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_handshake_that_comes_whole_but_later_needs_no_library_either() {
    let relay = TestRelay::start(|config| config.server.defer_accept_s = 0).await;
    let room = relay.create_room().await;
    let head = handshake(&relay.token(&room).await);
    let mut talk = silent(&relay).await;
    talk.say(&head).await;
    let answer = soon("an answer", talk.answer()).await;
    assert_eq!((answer.status, answer.header("date")), (101, None));
    relay.stop().await;
}

#[tokio::test]
async fn what_comes_with_a_handshake_is_heard_once() {
    let relay = TestRelay::start(|config| config.server.front_threads = 0).await;
    let room = relay.create_room().await;
    let mut listener = relay.join(&room).await;
    let head = handshake(&relay.token(&room).await);
    let message = masked(0x82, &[1, 0, 0, 0, 7]);
    let mut talk = at_once(&relay, &[head.as_bytes(), &message, &message[..3]].concat());
    assert_eq!(soon("an answer", talk.answer()).await.status, 101);
    talk.say(&message[3..]).await;
    listener.control_of("join").await;
    for _ in 0..2 {
        assert_eq!(listener.data().await.payload, [7]);
    }
    relay.stop().await;
}

#[tokio::test]
async fn whichever_way_a_member_came_it_counts_for_its_address() {
    let relay = TestRelay::start(|config| {
        config.server.front_threads = 0;
        config.server.defer_accept_s = 0;
        config.limit.connections_per_address = 3;
    })
    .await;
    let head = || handshake(&relay.mint(&TestRoom::new().id, "src"));
    let at_once_whole = at_once(&relay, head().as_bytes());
    let in_parts = late(&relay, head().as_bytes()).await;
    let mut whole_later = silent(&relay).await;
    whole_later.say(head()).await;
    let mut members = [at_once_whole, in_parts, whole_later];
    for member in &mut members {
        assert_eq!(soon("an answer", member.answer()).await.status, 101);
    }
    let mut one_more = at_once(&relay, head().as_bytes());
    assert_eq!(soon("an answer", one_more.answer()).await.status, 429);
    drop(members);
    relay.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_says_nothing_is_let_in_later_than_who_does() {
    const LET_IN: Count = Count::ConnectionsAccepted;
    let keeps = async |seconds| {
        TestRelay::start(move |config| config.server.defer_accept_s = seconds).await
    };
    let relay = keeps(60).await;
    let (mut silent, mut other) = (relay.talk().await, relay.talk().await);
    for (talk, let_in) in [(&mut other, 1), (&mut silent, 2)] {
        talk.say("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(soon("an answer", talk.answer()).await.status, 200);
        assert_eq!(relay.count(LET_IN), let_in);
    }
    relay.stop().await;

    let relay = keeps(1).await;
    let _silent = relay.talk().await;
    relay.until("the silent one", |now| now.count(LET_IN) == 1).await;
    relay.stop().await;
}
