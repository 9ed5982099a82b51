//! Tests of records: single rules, and whole lives against a model.

use super::*;
use crate::core::admission::{PaddingPolicy, room_id};
use crate::core::secret::Secret32;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MOST: RoomOptions =
    RoomOptions { ttl_s: 1000, idle_s: 100, members_max: 8, padding: PaddingPolicy::Off };

fn at(seconds: u64) -> Instant {
    Instant::START.after(Duration::from_secs(seconds))
}

fn records(rooms_max: usize) -> Records {
    Records::new(RecordLimits { rooms_max, ceilings: MOST, ends_idle: true })
}

fn key(n: u8) -> AdmissionKey {
    AdmissionKey::new(Secret32::new([n; 32]))
}

fn secret(n: u8) -> OwnerSecret {
    OwnerSecret::new(Secret32::new([n; 32]))
}

/// The room of key `n`, owned by whoever has secret `n`.
fn room(n: u8) -> RoomId {
    room_id(&key(n), &owner_hash(&secret(n)))
}

fn create(records: &Records, n: u8, now: Instant) -> Result<Made, Refused> {
    records.create(&room(n), owner_hash(&secret(n)), MOST, now)
}

#[test]
fn only_the_key_opens_and_only_the_owner_rules() {
    let records = records(10);
    assert_eq!(create(&records, 1, at(0)), Ok(Made { new: true }));
    assert_eq!(create(&records, 1, at(5)), Ok(Made { new: false }));
    assert!(records.authorize(&room(1), &key(1)).is_some());
    assert!(records.authorize(&room(1), &key(2)).is_none());
    assert!(records.authorize(&room(2), &key(2)).is_none(), "never made");
    assert!(records.owner_matches(&room(1), &secret(1)));
    assert!(!records.owner_matches(&room(1), &secret(2)));
    assert!(!records.owner_matches(&room(2), &secret(2)), "never made");
}

#[test]
fn a_room_without_an_owner_obeys_nobody_until_its_certificate_is_shown() {
    let records = records(10);
    assert_eq!(records.create(&room(1), None, MOST, at(0)), Ok(Made { new: true }));
    assert!(!records.owner_matches(&room(1), &secret(1)));
    assert!(records.authorize(&room(1), &key(1)).is_none());
    assert_eq!(create(&records, 1, at(0)), Ok(Made { new: false }));
    assert!(records.owner_matches(&room(1), &secret(1)));
    assert!(records.authorize(&room(1), &key(1)).is_some());
    let other = owner_hash(&secret(2));
    assert_eq!(records.create(&room(1), other, MOST, at(0)), Ok(Made { new: false }));
    assert!(!records.owner_matches(&room(1), &secret(2)), "the first owner stays");
}

#[test]
fn a_closed_room_stays_closed_until_its_time_to_live_would_have_ended() {
    let records = records(10);
    assert_eq!(records.close(&room(1)), Err(Refused::Unknown));
    create(&records, 1, at(0)).unwrap();
    assert_eq!(records.close(&room(1)), Ok(()));
    assert_eq!(create(&records, 1, at(1)), Err(Refused::Closed));
    assert_eq!(records.set_locked(&room(1), true, at(1)), Err(Refused::Closed));
    assert_eq!(records.close(&room(1)), Err(Refused::Closed));
    assert!(records.view(&room(1)).unwrap().closed);
    assert!(records.expire(at(999)).is_empty(), "a tombstone does not idle out");
    assert_eq!(records.expire(at(1000)).len(), 1);
    assert_eq!(create(&records, 1, at(1000)), Ok(Made { new: true }));
}

#[test]
fn a_locked_room_does_not_idle_out_and_an_unlocked_one_idles_anew() {
    let records = records(10);
    create(&records, 1, at(0)).unwrap();
    records.set_locked(&room(1), true, at(0)).unwrap();
    assert!(records.expire(at(500)).is_empty());
    records.set_locked(&room(1), false, at(500)).unwrap();
    assert!(records.expire(at(599)).is_empty());
    assert!(records.expire(at(600)) == [room(1)]);
}

#[test]
fn shorter_options_end_a_room_sooner() {
    let records = records(10);
    create(&records, 1, at(0)).unwrap();
    let shorter = |ttl_s, idle_s| WantedOptions { ttl_s, idle_s, ..WantedOptions::default() };
    records.set_options(&room(1), &shorter(None, Some(10))).unwrap();
    let too_long = records.set_options(&room(1), &shorter(Some(1001), None));
    assert_eq!(too_long, Err(Refused::Options));
    assert!(records.expire(at(9)).is_empty());
    records.occupied(&room(1));
    assert!(records.expire(at(10)).is_empty(), "somebody is there");
    let view = records.set_options(&room(1), &shorter(Some(20), None)).unwrap();
    assert_eq!(view.expires_at, at(20));
    assert!(records.expire(at(20)) == [room(1)], "the time to live ends it all the same");
    assert_eq!(records.set_options(&room(1), &shorter(None, None)), Err(Refused::Unknown));
}

#[test]
fn without_idle_ending_a_room_lives_for_its_whole_time() {
    let limits = RecordLimits { rooms_max: 1, ceilings: MOST, ends_idle: false };
    let records = Records::new(limits);
    create(&records, 1, at(0)).unwrap();
    assert!(!records.is_empty() && records.is_full());
    assert!(records.expire(at(999)).is_empty());
    assert_eq!(records.expire(at(1000)).len(), 1);
}

#[test]
fn so_many_rooms_and_no_more() {
    let records = records(2);
    create(&records, 1, at(0)).unwrap();
    create(&records, 2, at(0)).unwrap();
    assert_eq!(create(&records, 3, at(0)), Err(Refused::Full));
    assert_eq!(create(&records, 2, at(0)), Ok(Made { new: false }));
    assert_eq!(records.expire(at(100)).len(), 2);
    assert_eq!(create(&records, 3, at(100)), Ok(Made { new: true }));
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Occupied(u8),
    Emptied(u8),
    Lock(u8, bool),
    Close(u8),
    Options(u8, u32, u32),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0..4_u8;
    prop_oneof![
        n().prop_map(Step::Create),
        n().prop_map(Step::Occupied),
        n().prop_map(Step::Emptied),
        (n(), any::<bool>()).prop_map(|(n, locked)| Step::Lock(n, locked)),
        n().prop_map(Step::Close),
        (n(), 1..1000_u32, 1..100_u32).prop_map(|(n, ttl, idle)| Step::Options(n, ttl, idle)),
        (0..120_u64).prop_map(Step::Wait),
    ]
}

/// A record as one would write it down on paper.
#[derive(Clone, Copy)]
struct Paper {
    made: u64,
    ttl: u64,
    idle: u64,
    empty_since: Option<u64>,
    locked: bool,
    closed: bool,
}

impl Paper {
    fn is_over(&self, now: u64) -> bool {
        let idles = !self.locked && !self.closed;
        let idle = self.empty_since.is_some_and(|since| now >= since + self.idle);
        now >= self.made + self.ttl || idles && idle
    }
}

proptest! {
    /// The life cycle against a model that looks at every record every time.
    #[test]
    fn records_live_as_the_model_says(history in prop::collection::vec(step(), 0..120)) {
        let records = records(3);
        let mut model = BTreeMap::<u8, Paper>::new();
        let mut now = 0_u64;
        for step in history {
            match step {
                Step::Create(n) => {
                    let expected = match model.get(&n) {
                        Some(paper) if paper.closed => Err(Refused::Closed),
                        Some(_) => Ok(Made { new: false }),
                        None if model.len() == 3 => Err(Refused::Full),
                        None => Ok(Made { new: true }),
                    };
                    prop_assert_eq!(create(&records, n, at(now)), expected);
                    if expected == Ok(Made { new: true }) {
                        let (locked, closed, empty_since) = (false, false, Some(now));
                        let (ttl, idle) = (1000, 100);
                        let paper =
                            Paper { made: now, ttl, idle, empty_since, locked, closed };
                        model.insert(n, paper);
                    }
                }
                Step::Occupied(n) => {
                    records.occupied(&room(n));
                    if let Some(paper) = model.get_mut(&n) { paper.empty_since = None }
                }
                Step::Emptied(n) => {
                    records.emptied(&room(n), at(now));
                    if let Some(paper) = model.get_mut(&n) { paper.empty_since = Some(now) }
                }
                Step::Lock(n, locked) => {
                    let open = model.get_mut(&n).filter(|paper| !paper.closed);
                    let done = records.set_locked(&room(n), locked, at(now));
                    prop_assert_eq!(done.is_ok(), open.is_some());
                    if let Some(paper) = open {
                        paper.locked = locked;
                        paper.empty_since = paper.empty_since.map(|_| now);
                    }
                }
                Step::Close(n) => {
                    let open = model.get_mut(&n).filter(|paper| !paper.closed);
                    prop_assert_eq!(records.close(&room(n)).is_ok(), open.is_some());
                    if let Some(paper) = open { paper.closed = true }
                }
                Step::Options(n, ttl, idle) => {
                    let open = model.get_mut(&n).filter(|paper| !paper.closed);
                    let wanted = WantedOptions {
                        ttl_s: Some(ttl), idle_s: Some(idle), ..WantedOptions::default()
                    };
                    let done = records.set_options(&room(n), &wanted);
                    prop_assert_eq!(done.is_ok(), open.is_some());
                    if let Some(paper) = open {
                        (paper.ttl, paper.idle) = (ttl.into(), idle.into());
                    }
                }
                Step::Wait(seconds) => now += seconds,
            }
            let ended: Vec<_> = records.expire(at(now));
            let over: Vec<_> =
                model.iter().filter(|(_, paper)| paper.is_over(now)).map(|(n, _)| *n).collect();
            prop_assert_eq!(ended.len(), over.len());
            for n in over {
                prop_assert!(ended.contains(&room(n)));
                model.remove(&n);
            }
            prop_assert_eq!(records.len(), model.len());
            prop_assert_eq!(records.lock().endings.len(), model.len(), "one entry per record");
            for (n, paper) in &model {
                let view = records.view(&room(*n)).expect("as in the model");
                prop_assert_eq!((view.locked, view.closed), (paper.locked, paper.closed));
                prop_assert_eq!(view.expires_at, at(paper.made + paper.ttl));
            }
        }
    }
}
