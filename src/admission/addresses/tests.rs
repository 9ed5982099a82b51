//! Each limit on addresses, and that nobody loses or gains by what others do.

mod lives;

use super::*;
use crate::core::limit::Instant;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A table with the built-in limits, changed by `adjust`.
fn table(adjust: impl FnOnce(&mut crate::config::Limits)) -> Arc<Addresses> {
    let mut config = Config::default();
    adjust(&mut config.limit);
    Addresses::of(&config, Instant::START).unwrap().unwrap()
}

fn v4(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

/// An address of a /48, a /56 in it and a /64 in that.
fn v6(site: u16, customer: u8, network: u8) -> IpAddr {
    let subnet = u16::from_be_bytes([customer, network]);
    Ipv6Addr::new(0x2001, 0xdb8, site, subnet, 0, 0, 0, 1).into()
}

fn at(seconds: u64) -> Instant {
    Instant::START.after(Duration::from_secs(seconds))
}

fn at_ms(ms: u64) -> Instant {
    Instant::START.after(Duration::from_millis(ms))
}

fn refused(quota: Quota, wait_s: u64) -> Refused {
    Refused { quota, wait: Duration::from_secs(wait_s) }
}

fn quota_of<T>(answer: Result<T, Refused>) -> Option<Quota> {
    answer.err().map(|refused| refused.quota)
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let addresses = table(|limit| limit.connections_per_address = 2);
    let first = addresses.connect(v4(1), at(0)).unwrap();
    let second = addresses.connect(v4(1), at(0)).unwrap();
    assert_eq!(addresses.connect(v4(1), at(0)).err(), Some(refused(Quota::Connections, 0)));
    let _other = addresses.connect(v4(2), at(0)).unwrap();
    drop(first);
    let third = addresses.connect(v4(1), at(0)).unwrap();
    drop((second, third));
    let both: Vec<_> = (0..2).map(|_| addresses.connect(v4(1), at(0)).unwrap()).collect();
    assert_eq!(both.len(), 2);
}

#[test]
fn each_rate_has_its_own_limit_and_its_own_wait() {
    type Take = fn(&Addresses, IpAddr) -> Result<(), Refused>;
    let takes: [(Quota, Take, u64); 4] = [
        (Quota::Handshakes, |a, ip| a.handshake(ip, at(0)), 5),
        (Quota::Requests, |a, ip| a.request(ip, at(0)), 30),
        (Quota::Rooms, |a, ip| a.create_room(ip, at(0)), 30),
        (Quota::Tokens, |a, ip| a.create_token(ip, at(0)), 30),
    ];
    let addresses = table(|limit| {
        limit.handshakes_per_10s = 2;
        limit.requests_per_min = 2;
        limit.room_creates_per_min = 2;
        limit.tokens_per_min = 2;
        limit.slow_after_percent = 100;
    });
    for (quota, take, wait_s) in takes {
        for ip in [v4(1), v6(1, 1, 1)] {
            assert_eq!(take(&addresses, ip), Ok(()), "{quota:?}");
            assert_eq!(take(&addresses, ip), Ok(()), "{quota:?}");
            assert_eq!(take(&addresses, ip), Err(refused(quota, wait_s)));
        }
        assert_eq!(take(&addresses, v4(2)), Ok(()), "{quota:?} of a neighbour");
        assert_eq!(take(&addresses, v6(1, 1, 2)), Ok(()), "{quota:?} of a neighbour");
    }
    assert_eq!(addresses.create_room(v4(1), at(30)), Ok(()));
}

#[test]
fn ipv6_has_wider_ceilings_around_it() {
    let addresses = table(|limit| {
        limit.connections_per_address = 2;
        limit.ipv6_56_factor = 2;
        limit.ipv6_48_factor = 3;
    });
    let mut guards = Vec::new();
    let mut connect = |ip, so_many| {
        for _ in 0..so_many {
            guards.push(addresses.connect(ip, at(0)).unwrap());
        }
        assert_eq!(quota_of(addresses.connect(ip, at(0))), Some(Quota::Connections));
    };
    connect(v6(1, 1, 1), 2);
    connect(v6(1, 1, 2), 2);
    connect(v6(1, 1, 3), 0);
    connect(v6(1, 2, 1), 2);
    connect(v6(1, 3, 1), 0);
    connect(v6(2, 1, 1), 2);
    drop(guards);
    assert!(addresses.connect(v6(1, 3, 1), at(0)).is_ok(), "all of them are free again");
    addresses.tend(at(0));
    assert!(addresses.is_empty());
}

#[test]
fn what_one_width_refuses_costs_the_others_nothing() {
    let addresses = table(|limit| {
        limit.requests_per_min = 2;
        limit.ipv6_56_factor = 2;
        limit.ipv6_48_factor = 2;
    });
    for _ in 0..2 {
        assert_eq!(addresses.request(v6(1, 1, 1), at(0)), Ok(()));
    }
    for _ in 0..50 {
        assert_eq!(addresses.request(v6(1, 1, 1), at(0)), Err(refused(Quota::Requests, 30)));
    }
    for _ in 0..2 {
        assert_eq!(addresses.request(v6(1, 1, 2), at(0)), Ok(()), "the /48 has four");
    }
    assert_eq!(addresses.request(v6(1, 1, 2), at(0)), Err(refused(Quota::Requests, 15)));
}

#[test]
fn whoever_has_a_whole_site_does_not_fill_the_table_from_it() {
    let addresses = table(|limit| limit.requests_per_min = 2);
    for subnet in 0..=u16::MAX {
        let [customer, network] = subnet.to_be_bytes();
        let _ = addresses.request(v6(1, customer, network), at(0));
    }
    // 16 times two are granted; the /48, its /56s and /64s are known, and nothing else.
    assert!(addresses.len() <= 1 + 32 + 32, "{}", addresses.len());
}

#[test]
fn above_the_free_part_there_must_be_a_growing_gap() {
    let addresses = table(|limit| {
        limit.tokens_per_min = 120;
        limit.slow_after_percent = 50;
        limit.slow_max_ms = 6000;
    });
    for _ in 0..60 {
        assert_eq!(addresses.create_token(v4(1), at(0)), Ok(()));
    }
    assert_eq!(addresses.create_token(v4(1), at(0)), Ok(()), "the gap comes behind it");
    let (mut now, mut before) = (0, 0);
    for expected in [100, 200, 300] {
        let Err(Refused { quota: Quota::Pace, wait }) = addresses.create_token(v4(1), at_ms(now))
        else {
            panic!("no gap")
        };
        let gap = u64::try_from(wait.as_millis()).unwrap();
        assert_eq!(gap, expected, "after {before}");
        assert!(addresses.create_token(v4(1), at_ms(now + gap - 1)).is_err());
        assert_eq!(quota_of(addresses.create_room(v4(1), at_ms(now))), Some(Quota::Pace));
        now += gap;
        before = gap;
        assert_eq!(addresses.create_token(v4(1), at_ms(now)), Ok(()));
    }
    assert_eq!(addresses.create_token(v4(2), at_ms(now)), Ok(()), "a neighbour has no gap");
    // Who asks as slowly as the limit refills goes on for ever.
    for second in 100..400 {
        assert_eq!(addresses.create_token(v4(1), at(second)), Ok(()));
    }
}

#[test]
fn the_longest_gap_is_as_configured_and_can_be_none() {
    // The gap behind the tenth is hidden by the longer wait for the limit itself.
    for (percent, most_ms, expected) in [(0, 800, 720), (50, 800, 640), (50, 0, 0), (100, 800, 0)] {
        let addresses = table(|limit| {
            limit.room_creates_per_min = 10;
            limit.slow_after_percent = percent;
            limit.slow_max_ms = most_ms;
        });
        let (mut now, mut longest) = (1_000_000, 0);
        loop {
            match addresses.create_room(v4(1), at_ms(now)) {
                Ok(()) => {}
                Err(Refused { quota: Quota::Pace, wait }) => {
                    let gap = u64::try_from(wait.as_millis()).unwrap();
                    longest = longest.max(gap);
                    now += gap;
                }
                Err(Refused { quota, .. }) => break assert_eq!(quota, Quota::Rooms),
            }
        }
        assert_eq!(longest, expected, "{percent} {most_ms}");
    }
}

#[test]
fn the_longer_of_two_waits_is_told() {
    let addresses = table(|limit| {
        (limit.room_creates_per_min, limit.tokens_per_min) = (1, 120);
        (limit.slow_after_percent, limit.slow_max_ms) = (50, 2000);
    });
    assert_eq!(addresses.create_room(v4(1), at(0)), Ok(()));
    assert_eq!(addresses.create_room(v4(1), at(0)), Err(refused(Quota::Rooms, 60)));
    assert_eq!(addresses.create_token(v4(1), at(0)), Err(refused(Quota::Pace, 2)));
    assert_eq!(addresses.create_token(v4(1), at(2)), Ok(()));
}

#[test]
fn too_many_failures_are_told_less_and_less_often() {
    let addresses = table(|limit| limit.failed_admissions_per_min = 10);
    for _ in 0..10 {
        assert_eq!(addresses.fail(v4(1), at(0)), Ok(()));
    }
    assert_eq!(addresses.fail(v4(1), at(0)), Err(refused(Quota::Failures, 61)));
    assert_eq!(addresses.fail(v4(1), at(1)), Err(refused(Quota::Failures, 60)));
    assert_eq!(addresses.fail(v4(2), at(1)), Ok(()), "a neighbour");
    assert_eq!(addresses.create_token(v4(1), at(1)), Ok(()), "who does not fail is not asked");
    for _ in 0..10 {
        assert_eq!(addresses.fail(v4(1), at(61)), Ok(()));
    }
    assert_eq!(addresses.fail(v4(1), at(61)), Err(refused(Quota::Failures, 121)));
}

#[test]
fn closes_for_cause_raise_the_price_of_the_next_handshake() {
    let addresses = table(|limit| limit.faults = 3);
    let guard = addresses.connect(v4(1), at(0)).unwrap();
    for close in Close::ALL.iter().filter(|close| !close.is_fault()) {
        for _ in 0..5 {
            guard.blame(*close, at(0));
        }
    }
    for close in [Close::RateLimited, Close::SlowConsumer, Close::Protocol] {
        guard.blame(close, at(0));
        assert_eq!(addresses.handshake(v4(1), at(0)), Ok(()));
    }
    guard.blame(Close::BadFrame, at(0));
    assert_eq!(addresses.handshake(v4(1), at(0)), Err(refused(Quota::Faults, 61)));
    assert_eq!(addresses.handshake(v4(2), at(0)), Ok(()), "a neighbour");
    assert_eq!(addresses.create_room(v4(1), at(0)), Err(refused(Quota::Faults, 61)));
    assert_eq!(addresses.create_token(v4(1), at(0)), Err(refused(Quota::Faults, 61)));
    assert_eq!(addresses.request(v4(1), at(0)), Ok(()), "only what leads into a room");
    assert_eq!(addresses.handshake(v4(1), at(61)), Ok(()));
    for _ in 0..4 {
        guard.blame(Close::TooLarge, at(61));
    }
    assert_eq!(addresses.handshake(v4(1), at(61)), Err(refused(Quota::Faults, 121)));
    drop(guard);
    addresses.tend(at(61 + 121 + 599));
    assert_eq!(addresses.len(), 1, "not yet forgotten");
    addresses.tend(at(61 + 121 + 600));
    assert!(addresses.is_empty());
}

/// What a connection takes is what its address takes, at every width.
#[test]
fn a_connection_takes_the_handshakes_of_its_address() {
    let day = SALT_LIFETIME.as_secs();
    let asked = |through_guards: bool| {
        let addresses = table(|limit| {
            (limit.handshakes_per_10s, limit.faults) = (4, 2);
            (limit.ipv6_56_factor, limit.ipv6_48_factor) = (2, 3);
        });
        let clients = [v4(1), v6(1, 1, 1), v6(1, 1, 2), v6(1, 1, 3), v6(1, 2, 1)];
        let connect = |ip| (ip, addresses.connect(ip, at(0)).unwrap());
        let guards: Vec<_> = clients.into_iter().map(connect).collect();
        let mut answers = Vec::new();
        for second in [0, 0, 0, 0, 0, 1, 5, 20, day, day] {
            addresses.tend(at(second));
            for (ip, guard) in &guards {
                let guard = Some(guard).filter(|_| through_guards);
                answers.push(guard.map_or_else(
                    || addresses.handshake(*ip, at(second)),
                    |guard| guard.handshake(at(second)),
                ));
            }
            guards[0].1.blame(Close::Protocol, at(second));
        }
        answers.extend(clients.map(|ip| addresses.handshake(ip, at(day))));
        answers
    };
    let answers = asked(false);
    for quota in [Quota::Handshakes, Quota::Faults] {
        assert!(answers.iter().any(|answer| quota_of(*answer) == Some(quota)), "{quota:?}");
    }
    assert_eq!(asked(true), answers);
}

#[test]
fn a_whole_ipv6_site_answers_for_its_networks_but_later() {
    let addresses = table(|limit| (limit.faults, limit.ipv6_56_factor) = (1, 4));
    let blame = |network, times| {
        let guard = addresses.connect(v6(1, 1, network), at(0)).unwrap();
        for _ in 0..times {
            guard.blame(Close::Protocol, at(0));
        }
    };
    blame(1, 2);
    assert_eq!(quota_of(addresses.handshake(v6(1, 1, 1), at(0))), Some(Quota::Faults));
    assert_eq!(addresses.handshake(v6(1, 1, 9), at(0)), Ok(()));
    blame(2, 2);
    blame(3, 1);
    assert_eq!(quota_of(addresses.handshake(v6(1, 1, 9), at(0))), Some(Quota::Faults));
    assert_eq!(addresses.handshake(v6(1, 2, 9), at(0)), Ok(()), "another customer of the site");
}

#[test]
fn a_change_of_salt_forgets_nobody_who_comes_again() {
    let day = SALT_LIFETIME.as_secs();
    let addresses = table(|limit| {
        limit.connections_per_address = 1;
        limit.room_creates_per_min = 1;
        limit.slow_after_percent = 100;
    });
    for ip in [v4(1), v6(1, 1, 1)] {
        let guard = addresses.connect(ip, at(0)).unwrap();
        assert_eq!(addresses.create_room(ip, at(day)), Ok(()));
        addresses.tend(at(day));
        assert_eq!(addresses.create_room(ip, at(day)), Err(refused(Quota::Rooms, 60)));
        addresses.tend(at(2 * day));
        assert_eq!(quota_of(addresses.connect(ip, at(2 * day))), Some(Quota::Connections));
        addresses.tend(at(3 * day));
        drop(guard);
        let _again = addresses.connect(ip, at(3 * day)).unwrap();
    }
}

#[test]
fn who_does_not_come_again_is_forgotten_with_the_second_salt() {
    let day = SALT_LIFETIME.as_secs();
    let addresses = table(|limit| limit.connections_per_address = 1);
    let guard = addresses.connect(v4(1), at(0)).unwrap();
    addresses.tend(at(day));
    assert_eq!(addresses.len(), 1);
    addresses.tend(at(2 * day));
    let late = addresses.connect(v4(1), at(2 * day)).expect("nobody knows of the first");
    assert_eq!(addresses.len(), 2, "but its connection is still counted by the table");
    drop(guard);
    assert_eq!(addresses.len(), 1);
    let full = quota_of(addresses.connect(v4(1), at(2 * day)));
    assert_eq!(full, Some(Quota::Connections), "a forgotten guard frees nobody else's place");
    drop(late);
    addresses.tend(at(2 * day));
    assert!(addresses.is_empty());
}

#[test]
fn a_full_table_lets_go_of_what_would_be_forgotten_first() {
    let addresses = table(|limit| limit.addresses = 64);
    let guards: Vec<_> = (0..8).map(|n| addresses.connect(v4(n), at(0)).unwrap()).collect();
    for n in 8..16 {
        for _ in 0..11 {
            let _ = addresses.fail(v4(n), at(0));
        }
    }
    for n in 16..=255 {
        assert_eq!(addresses.create_room(v4(n), at(0)), Ok(()));
        assert!(addresses.len() <= 64);
    }
    for n in 8..16 {
        assert_eq!(quota_of(addresses.fail(v4(n), at(1))), Some(Quota::Failures), "still known");
    }
    drop(guards);
    addresses.tend(at(61 + 600));
    assert!(addresses.is_empty());
}

#[test]
fn a_table_full_of_connections_refuses_and_loses_none() {
    let addresses = table(|limit| (limit.addresses, limit.connections_per_address) = (8, 1));
    let guards: Vec<_> = (0..8).map(|n| addresses.connect(v4(n), at(0)).unwrap()).collect();
    assert_eq!(quota_of(addresses.connect(v4(9), at(0))), Some(Quota::Addresses));
    assert_eq!(quota_of(addresses.request(v4(9), at(0))), Some(Quota::Addresses));
    assert_eq!(quota_of(addresses.fail(v4(9), at(0))), Some(Quota::Addresses));
    for n in 0..8 {
        assert_eq!(quota_of(addresses.connect(v4(n), at(0))), Some(Quota::Connections));
    }
    drop(guards);
    let _ninth = addresses.connect(v4(9), at(0)).unwrap();
}

#[test]
fn an_address_does_not_push_itself_out() {
    let addresses = table(|limit| {
        (limit.addresses, limit.connections_per_address) = (4, 1);
        (limit.ipv6_56_factor, limit.ipv6_48_factor) = (1, 1);
    });
    for site in 0..200 {
        // Strangers fill the table, and the entries of one address take three of four places.
        for n in 0..4 {
            addresses.request(v4(n), at(u64::from(site))).unwrap();
        }
        let _guard = addresses.connect(v6(site, 1, 1), at(u64::from(site))).unwrap();
        for near in [v6(site, 1, 1), v6(site, 1, 2), v6(site, 2, 2)] {
            let again = addresses.connect(near, at(u64::from(site)));
            assert_eq!(quota_of(again), Some(Quota::Connections));
        }
    }
}

/// An attacker with a million networks, each from another site, does whatever costs the table most.
#[test]
fn a_million_prefixes_keep_out_nobody() {
    let addresses = table(|limit| (limit.addresses, limit.connections_per_address) = (3000, 3));
    let members: Vec<_> = (0..100)
        .flat_map(|n| [v4(n), v4(n)])
        .map(|ip| addresses.connect(ip, at(0)).unwrap())
        .collect();
    let mut let_in = 0;
    for n in 0..1_000_000_u32 {
        let [a, b, c, d] = n.to_be_bytes();
        let site = Ipv6Addr::from([0x20, 1, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).into();
        let now = at_ms(u64::from(n / 100));
        let answer = match n % 3 {
            0 => addresses.request(site, now),
            1 => addresses.create_room(site, now),
            _ => addresses.fail(site, now),
        };
        assert_eq!(answer, Ok(()));
        if n % 1000 == 0 {
            let newcomer = IpAddr::from([198, 51, c, d]);
            addresses.request(newcomer, now).unwrap();
            addresses.handshake(newcomer, now).unwrap();
            let_in += usize::from(addresses.connect(newcomer, now).is_ok());
            assert!(addresses.len() <= 3000);
        }
    }
    assert_eq!(let_in, 1000);
    for n in 0..100 {
        let third = addresses.connect(v4(n), at(10_000)).expect("a place that was always free");
        assert_eq!(quota_of(addresses.connect(v4(n), at(10_000))), Some(Quota::Connections));
        drop(third);
    }
    drop(members);
    addresses.tend(at(20_000));
    assert!(addresses.is_empty());
}

#[test]
fn without_tracking_there_is_no_table() {
    let mut config = Config::default();
    config.feature.ip_tracking = false;
    assert!(Addresses::of(&config, at(0)).unwrap().is_none());
}
