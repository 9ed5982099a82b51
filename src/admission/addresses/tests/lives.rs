//! Random lives of connections: whatever happens to them, in the end nothing is counted any more.

use super::*;
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Clone, Debug)]
enum Step {
    Connect(u8),
    /// Connects, and the handshake comes to nothing.
    Abort(u8),
    /// Connects, and the task ends by a panic.
    Panic(u8),
    Handshake(u8),
    Request(u8),
    Room(u8),
    Token(u8),
    Fail(u8),
    /// Ends the connection at this place of the list, counted around, for this reason.
    End(usize, usize),
    Wait(u64),
    Tend,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..9_u8;
    prop_oneof![
        6 => who().prop_map(Step::Connect),
        2 => who().prop_map(Step::Abort),
        1 => who().prop_map(Step::Panic),
        2 => who().prop_map(Step::Handshake),
        2 => who().prop_map(Step::Request),
        1 => who().prop_map(Step::Room),
        1 => who().prop_map(Step::Token),
        2 => who().prop_map(Step::Fail),
        5 => (any::<usize>(), any::<usize>()).prop_map(|(at, why)| Step::End(at, why)),
        3 => (0..80_u64).prop_map(Step::Wait),
        1 => (20_000..90_000_u64).prop_map(Step::Wait),
        3 => Just(Step::Tend),
    ]
}

/// Six IPv4 addresses, and three IPv6 ones of one /48, two of them of one /56.
fn who(n: u8) -> IpAddr {
    match n {
        0..6 => v4(n),
        6 | 7 => v6(1, 1, n),
        _ => v6(1, 2, n),
    }
}

struct World {
    addresses: Arc<Addresses>,
    guards: Vec<(u8, Instant, AddressGuard)>,
    now: Instant,
    most: usize,
}

impl World {
    /// Checks a connect against the guards: none of an address that came within a salt's life is
    /// ever forgotten, and nobody is refused for connections that are not there.
    fn connect(&mut self, n: u8) -> Result<(), TestCaseError> {
        let young = |since: Instant| self.now.since(since) < SALT_LIFETIME;
        let same = |m: u8| who(m) == who(n);
        let known = self.guards.iter().filter(|(m, at, _)| same(*m) && young(*at)).count();
        match self.addresses.connect(who(n), self.now) {
            Ok(guard) => {
                prop_assert!(known < self.most, "{known} of {}", self.most);
                self.guards.push((n, self.now, guard));
            }
            Err(Refused { quota: Quota::Connections, .. }) => {
                // Three of the addresses share ceilings of more than their own.
                let near = |m: u8| same(m) || (m >= 6 && n >= 6);
                let all = self.guards.iter().filter(|(m, ..)| near(*m)).count();
                prop_assert!(all >= self.most);
            }
            Err(refused) => prop_assert_eq!(refused.quota, Quota::Addresses),
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let Self { addresses, guards, now, .. } = self;
        match *step {
            Step::Connect(n) => self.connect(n)?,
            Step::Abort(n) => drop(addresses.connect(who(n), *now)),
            Step::Panic(n) => {
                let life = AssertUnwindSafe(|| {
                    let _guard = addresses.connect(who(n), *now);
                    // Without the hook, which would print it.
                    std::panic::resume_unwind(Box::new("a bug"));
                });
                prop_assert!(catch_unwind(life).is_err());
            }
            Step::Handshake(n) => _ = addresses.handshake(who(n), *now),
            Step::Request(n) => _ = addresses.request(who(n), *now),
            Step::Room(n) => _ = addresses.create_room(who(n), *now),
            Step::Token(n) => _ = addresses.create_token(who(n), *now),
            Step::Fail(n) => _ = addresses.fail(who(n), *now),
            Step::End(at, why) => {
                if let Some(at) = at.checked_rem(guards.len()) {
                    let (_, _, guard) = guards.swap_remove(at);
                    let why = Close::ALL.get(why % Close::ALL.len()).copied();
                    guard.blame(why.unwrap_or(Close::Left), *now);
                }
            }
            Step::Wait(seconds) => *now = now.after(Duration::from_secs(seconds)),
            Step::Tend => addresses.tend(*now),
        }
        Ok(())
    }
}

proptest! {
    /// No address has more connections than it may as long as it is remembered, the table is
    /// bounded, and without connections and after a quiet time it is empty.
    #[test]
    fn all_that_is_counted_in_is_counted_out(
        connections in 1..4_u32,
        entries_max in prop_oneof![3..12_u32, 40..60_u32],
        faults in 0..3_u32,
        history in prop::collection::vec(step(), 0..200),
    ) {
        let addresses = table(|limit| {
            limit.connections_per_address = connections;
            limit.ipv6_56_factor = 1;
            limit.ipv6_48_factor = 2;
            limit.failed_admissions_per_min = 2;
            limit.addresses = entries_max;
            limit.faults = faults;
        });
        let now = Instant::START;
        let mut world =
            World { addresses, guards: Vec::new(), now, most: connections as usize };
        for step in history {
            world.step(&step)?;
            prop_assert!(world.addresses.len() <= entries_max as usize);
        }
        let World { addresses, mut guards, now, .. } = world;
        guards.clear();
        // The longest penalty, and then the time in which it is remembered.
        let quiet = now.after(Duration::from_secs(901 + 600));
        addresses.tend(quiet);
        addresses.tend(quiet);
        prop_assert!(addresses.is_empty(), "{} left", addresses.len());
        for n in 0..9 {
            let all: Vec<_> = (0..connections).map(|_| addresses.connect(who(n), quiet)).collect();
            prop_assert!(all.iter().all(Result::is_ok), "nothing is counted for anybody");
        }
    }
}
