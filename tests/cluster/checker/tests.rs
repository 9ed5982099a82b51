//! The checker catches each kind of fault, and finds none where there is none.

use super::{Event, Fault, Kind, Log, Name, Welcome, check};

/// Everybody in the small story below.
const ALICE: Name = 1;
const BOB: Name = 2;
const CAROL: Name = 3;
/// Its epoch, and the one after it.
const FIRST: u64 = 77;
const SECOND: u64 = 78;

fn welcome(me: Name, seq: u64, members: &[Name]) -> Event {
    Event::Welcome(Box::new(Welcome { epoch: FIRST, seq, me, members: members.to_vec() }))
}

fn sent(hash: u64, kind: Kind) -> Event {
    Event::Sent { hash, kind, ack: true }
}

fn heard(from: Name, seq: u64, hash: u64) -> Event {
    Event::Message { from, seq, hash, echo: false }
}

fn join(member: Name, seq: u64) -> Event {
    Event::Join { member, seq }
}

/// Three members say something; Bob's last message is for Alice alone. Alice is `story()[0]`.
fn story() -> Vec<Log> {
    let echo = Event::Message { from: CAROL, seq: 6, hash: 61, echo: true };
    let alice = vec![
        welcome(ALICE, 1, &[ALICE]),
        join(BOB, 2),
        join(CAROL, 3),
        sent(41, Kind::Plain),
        Event::Ack { hash: 41, seq: 4 },
        heard(BOB, 5, 51),
        heard(CAROL, 6, 61),
        Event::Direct { from: BOB, seq: 6, hash: 62 },
        Event::Leave { member: CAROL, seq: 7 },
        Event::Quiet,
    ];
    let bob = vec![
        welcome(BOB, 2, &[ALICE, BOB]),
        join(CAROL, 3),
        heard(ALICE, 4, 41),
        sent(51, Kind::Plain),
        Event::Ack { hash: 51, seq: 5 },
        heard(CAROL, 6, 61),
        sent(62, Kind::Direct(ALICE)),
        Event::Ack { hash: 62, seq: 6 },
        Event::Leave { member: CAROL, seq: 7 },
        Event::Quiet,
    ];
    let carol = vec![
        welcome(CAROL, 3, &[ALICE, BOB, CAROL]),
        heard(ALICE, 4, 41),
        sent(61, Kind::Echo),
        heard(BOB, 5, 51),
        echo,
        Event::Ack { hash: 61, seq: 6 },
        Event::End(1000),
    ];
    // Another room, so that something can come from there.
    let stranger = vec![
        welcome(9, 1, &[9]),
        Event::Sent { hash: 91, kind: Kind::Plain, ack: false },
        Event::Quiet,
    ];
    let log = |room, events| Log { room, events };
    vec![log(0, alice), log(0, bob), log(0, carol), log(1, stranger)]
}

/// The faults in the story after it was changed.
fn faults(change: impl FnOnce(&mut Vec<Log>)) -> Vec<Fault> {
    let mut logs = story();
    change(&mut logs);
    check(&logs).faults().into_iter().collect()
}

#[test]
fn a_good_story_has_no_fault() {
    let verdict = check(&story());
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.sent, verdict.acked, verdict.deliveries), (5, 4, 8));
    assert_eq!(verdict.ends.get(&1000), Some(&1));
}

#[test]
fn a_message_that_one_member_misses_is_lost() {
    assert_eq!(faults(|logs| drop(logs[0].events.remove(5))), [Fault::Lost]);
}

#[test]
fn a_message_that_nobody_heard_and_that_was_acknowledged_is_lost() {
    let lost = faults(|logs| {
        for log in logs.iter_mut() {
            log.events.retain(|event| !matches!(event, Event::Message { hash: 51, .. }));
        }
    });
    assert_eq!(lost, [Fault::Lost]);
}

#[test]
fn the_last_message_is_missed_as_well() {
    let verdict = {
        let mut logs = story();
        logs[0].events.retain(|event| !matches!(event, Event::Leave { .. }));
        logs[0].events.retain(|event| !matches!(event, Event::Message { hash: 61, .. }));
        logs[0].events.retain(|event| !matches!(event, Event::Direct { .. }));
        check(&logs)
    };
    assert!(verdict.faults().contains(&Fault::Lost));
    assert!(verdict.undetected() > 0);
}

#[test]
fn a_missed_join_or_leave_is_lost() {
    assert!(faults(|logs| drop(logs[0].events.remove(2))).contains(&Fault::Lost));
}

#[test]
fn a_loss_that_was_announced_is_none() {
    let members = Box::new([ALICE, BOB, CAROL]);
    let gap = |from, to| Event::Gap { from, to, members: members.clone() };
    assert_eq!(faults(|logs| logs[0].events[5] = gap(5, 5)), []);
    // One number too few, and one that had come.
    assert_eq!(
        faults(|logs| {
            logs[0].events.splice(5..7, [gap(6, 6)]);
        }),
        [Fault::Lost]
    );
    assert_eq!(faults(|logs| logs[0].events.insert(6, gap(5, 5))), [Fault::Repeated]);
}

#[test]
fn a_gap_with_a_wrong_roster_is_found() {
    let gap = Event::Gap { from: 4, to: 5, members: Box::new([ALICE, BOB]) };
    let found = faults(|logs| {
        logs[1].events.splice(2..5, [gap]);
    });
    assert!(found.contains(&Fault::NoMember), "{found:?}");
}

#[test]
fn a_repeated_message_is_found() {
    let again = |logs: &mut Vec<Log>| logs[0].events.insert(6, heard(BOB, 5, 51));
    assert_eq!(faults(again), [Fault::Repeated]);
    // Under a number of its own, as a retry would be.
    let anew = |logs: &mut Vec<Log>| {
        logs[0].events.insert(9, heard(BOB, 8, 51));
        logs[1].events.insert(9, heard(ALICE, 8, 41));
    };
    assert!(faults(anew).contains(&Fault::Repeated));
}

#[test]
fn swapped_messages_are_found() {
    let swap = |logs: &mut Vec<Log>| logs[0].events.swap(5, 6);
    assert!(faults(swap).contains(&Fault::Repeated));
    // With their numbers swapped as well, the others have another order.
    let renumbered = |logs: &mut Vec<Log>| {
        logs[0].events[5] = heard(CAROL, 5, 61);
        logs[0].events[6] = heard(BOB, 6, 51);
    };
    assert!(faults(renumbered).contains(&Fault::Disagree));
}

#[test]
fn an_acknowledgement_with_another_number_is_found() {
    let found = faults(|logs| logs[1].events[4] = Event::Ack { hash: 51, seq: 6 });
    assert!(found.contains(&Fault::Disagree), "{found:?}");
}

#[test]
fn foreign_messages_are_found() {
    // Of another room, of nobody, of somebody else, and a direct for somebody else.
    for (from, hash) in [(BOB, 91), (BOB, 1234), (CAROL, 51), (BOB, 62)] {
        let found = faults(|logs| logs[0].events[5] = heard(from, 5, hash));
        assert!(found.contains(&Fault::Foreign), "{from} {hash}: {found:?}");
    }
    // One's own, although it was not to be echoed.
    let own = faults(|logs| logs[0].events.insert(5, heard(ALICE, 4, 41)));
    assert!(own.contains(&Fault::Foreign) || own.contains(&Fault::Repeated), "{own:?}");
}

#[test]
fn a_message_after_its_sender_left_is_found() {
    let late = faults(|logs| {
        logs[1].events.insert(6, sent(81, Kind::Plain));
        for log in logs.iter_mut().take(2) {
            let at = log.events.len() - 1;
            log.events.insert(at, heard(CAROL, 8, 81));
        }
    });
    assert!(late.contains(&Fault::NoMember), "{late:?}");
}

#[test]
fn rosters_that_differ_are_found() {
    let wrong = faults(|logs| logs[2].events[0] = welcome(CAROL, 3, &[ALICE, CAROL]));
    assert!(wrong.contains(&Fault::Roster), "{wrong:?}");
    let other = faults(|logs| logs[1].events[8] = Event::Leave { member: ALICE, seq: 7 });
    assert!(other.contains(&Fault::Roster) && other.contains(&Fault::Disagree), "{other:?}");
}

#[test]
fn a_lost_direct_is_found_unless_it_was_announced() {
    let lose = |logs: &mut Vec<Log>| drop(logs[0].events.remove(7));
    assert_eq!(faults(lose), [Fault::DirectLost]);
    let reset = Event::Reset { epoch: SECOND, seq: 0, members: Box::new([ALICE, BOB]) };
    let announced = faults(|logs| {
        for log in logs.iter_mut().take(2) {
            log.events[8] = reset.clone();
        }
        drop(logs[0].events.remove(7));
    });
    assert_eq!(announced, []);
}

#[test]
fn a_message_without_any_answer_is_found_unless_the_order_broke() {
    let silent = |logs: &mut Vec<Log>| logs[1].events.insert(9, sent(99, Kind::Plain));
    assert_eq!(faults(silent), [Fault::Unanswered]);
    let refused = faults(|logs| {
        silent(logs);
        logs[1].events.insert(10, Event::Refused { hash: 99 });
    });
    assert_eq!(refused, []);
}

#[test]
fn a_refused_message_that_came_is_found() {
    let refuse = |logs: &mut Vec<Log>| logs[1].events[4] = Event::Refused { hash: 51 };
    assert_eq!(faults(refuse), [Fault::Refused]);
}

#[test]
fn epochs_have_one_order_too() {
    let reset = |epoch| Event::Reset { epoch, seq: 0, members: Box::new([ALICE, BOB]) };
    let same = faults(|logs| {
        for log in logs.iter_mut().take(2) {
            log.events.splice(8..9, [reset(SECOND), reset(79)]);
        }
    });
    assert_eq!(same, []);
    let other = faults(|logs| {
        logs[0].events.splice(8..9, [reset(SECOND), reset(79)]);
        logs[1].events.splice(8..9, [reset(79), reset(SECOND)]);
    });
    assert!(other.contains(&Fault::Epochs), "{other:?}");
    let back = faults(|logs| {
        logs[0].events.splice(8..9, [reset(SECOND), reset(FIRST)]);
    });
    assert!(back.contains(&Fault::Epochs), "{back:?}");
}

#[test]
fn whoever_hears_something_before_the_welcome_is_found() {
    assert!(faults(|logs| logs[0].events.swap(0, 1)).contains(&Fault::Unwelcome));
}
