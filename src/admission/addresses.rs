//! How much one client address may take: connections at once, and rooms made per minute.
//!
//! An address is kept as a keyed hash of its prefix (IPv4 whole, IPv6 /64) under a random salt that
//! lives in memory only and is replaced every 24 hours. The generation before stays for another 24
//! hours, so that connections older than a salt still count; after that they are forgotten, not
//! moved. Whoever can read this process' memory can try all IPv4 addresses: the hash keeps them out
//! of tables and dumps of tables, no more. Connections are guards: what came in goes out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Config;
use crate::core::limit::{Bucket, Instant, Limit};

/// What every address may do, and how many addresses are kept.
#[derive(Clone, Copy, Debug)]
pub struct AddressLimits {
    /// Connections at the same time.
    pub connections: u32,
    /// Rooms made.
    pub room_creations: Limit,
    /// Addresses kept at the same time.
    pub addresses_max: usize,
}

impl From<&Config> for AddressLimits {
    fn from(config: &Config) -> Self {
        let limit = &config.limit;
        Self {
            connections: limit.connections_per_address,
            room_creations: Limit::new(u64::from(limit.room_creates_per_min), MINUTE),
            addresses_max: usize::try_from(limit.addresses).unwrap_or(usize::MAX),
        }
    }
}

/// Why an address is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// The address has as many connections as it may.
    #[error("too many connections from one address")]
    Connections,
    /// The table of addresses is full.
    #[error("too many addresses")]
    Addresses,
    /// The address made rooms too quickly; it may again after this time.
    #[error("too many new rooms from one address")]
    RoomCreations(Duration),
}

/// The addresses that have connections or made rooms a moment ago.
pub struct Addresses {
    limits: AddressLimits,
    table: Mutex<Table>,
}

/// One connection of an address; it counts until this is dropped.
#[must_use = "dropping the guard frees the connection's place"]
pub struct AddressGuard {
    addresses: Arc<Addresses>,
    /// Under another salt the address has another key, so this finds nobody else's entry.
    key: Key,
}

type Key = [u8; 8];

struct Table {
    current: Generation,
    previous: Option<Generation>,
    rotated_at: Instant,
    swept_at: Instant,
}

/// Everything under one salt.
struct Generation {
    salted: Hmac<Sha256>,
    entries: HashMap<Key, Entry>,
}

#[derive(Default)]
struct Entry {
    connections: u32,
    room_creations: Bucket,
}

impl Addresses {
    /// Creates an empty table with a random salt. Fails if the kernel has no random bytes.
    pub fn new(limits: AddressLimits, now: Instant) -> Result<Arc<Self>, getrandom::Error> {
        let current = Generation::new()?;
        let table = Table { current, previous: None, rotated_at: now, swept_at: now };
        Ok(Arc::new(Self { limits, table: Mutex::new(table) }))
    }

    /// Counts a connection in.
    pub fn connect(self: &Arc<Self>, ip: IpAddr, now: Instant) -> Result<AddressGuard, TooMany> {
        let mut table = self.lock();
        let earlier = table.previous.as_ref().map_or(0, |previous| previous.connections(ip));
        let (key, entry) = table.entry(ip, &self.limits, now)?;
        if entry.connections.saturating_add(earlier) >= self.limits.connections {
            return Err(TooMany::Connections);
        }
        entry.connections += 1;
        drop(table);
        Ok(AddressGuard { addresses: Arc::clone(self), key })
    }

    /// Takes one of the address' room creations.
    pub fn create_room(&self, ip: IpAddr, now: Instant) -> Result<(), TooMany> {
        let mut table = self.lock();
        let (_, entry) = table.entry(ip, &self.limits, now)?;
        let limit = &self.limits.room_creations;
        entry.room_creations.take(limit, 1, now).map_err(TooMany::RoomCreations)
    }

    /// Replaces the salt when it is old and drops addresses that have nothing left to limit.
    /// Meant to be called about once a second; keeps the old salt if there are no random bytes.
    pub fn tend(&self, now: Instant) {
        let mut table = self.lock();
        if now.since(table.rotated_at) >= SALT_LIFETIME
            && let Ok(fresh) = Generation::new()
        {
            table.previous = Some(std::mem::replace(&mut table.current, fresh));
            table.rotated_at = now;
        }
        if now.since(table.swept_at) >= SWEEP_INTERVAL {
            table.sweep(now);
        }
    }

    /// How many addresses are kept, those of the generation before included.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        let mut table = self.addresses.lock();
        if let Some(entry) = table.find(self.key) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }
}

impl Table {
    /// The entry of an address in the current generation, made if there is a place for it.
    fn entry(
        &mut self,
        ip: IpAddr,
        limits: &AddressLimits,
        now: Instant,
    ) -> Result<(Key, &mut Entry), TooMany> {
        let key = self.current.key(ip);
        let known = self.current.entries.contains_key(&key);
        if !known && self.len() >= limits.addresses_max {
            self.sweep(now);
            if self.len() >= limits.addresses_max {
                return Err(TooMany::Addresses);
            }
        }
        Ok((key, self.current.entries.entry(key).or_default()))
    }

    fn find(&mut self, key: Key) -> Option<&mut Entry> {
        let mut all = std::iter::once(&mut self.current).chain(&mut self.previous);
        all.find_map(|kept| kept.entries.get_mut(&key))
    }

    fn sweep(&mut self, now: Instant) {
        self.swept_at = now;
        for kept in std::iter::once(&mut self.current).chain(&mut self.previous) {
            kept.entries.retain(|_, entry| !entry.is_idle(now));
            kept.entries.shrink_to(kept.entries.len() * 2);
        }
    }

    fn len(&self) -> usize {
        let previous = self.previous.as_ref().map_or(0, |kept| kept.entries.len());
        self.current.entries.len() + previous
    }
}

impl Generation {
    fn new() -> Result<Self, getrandom::Error> {
        let mut salt = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(salt.as_mut_slice())?;
        let salted = Hmac::new_from_slice(salt.as_slice()).expect("a key of any length will do");
        Ok(Self { salted, entries: HashMap::new() })
    }

    fn key(&self, ip: IpAddr) -> Key {
        let mut hash = self.salted.clone();
        match ip.to_canonical() {
            IpAddr::V4(ip) => hash.update(&ip.octets()),
            IpAddr::V6(ip) => {
                let octets = ip.octets();
                hash.update(octets.first_chunk::<8>().expect("8 is below 16"));
            }
        }
        let hash = hash.finalize().into_bytes();
        *hash.first_chunk().expect("8 is below 32")
    }

    fn connections(&self, ip: IpAddr) -> u32 {
        self.entries.get(&self.key(ip)).map_or(0, |entry| entry.connections)
    }
}

impl Entry {
    fn is_idle(&self, now: Instant) -> bool {
        self.connections == 0 && self.room_creations.is_full(now)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

const SALT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// An entry is 48 bytes and a sweep walks all of them, so not every second.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn limits(connections: u32, rooms: u64, addresses_max: usize) -> AddressLimits {
        let room_creations = Limit::new(rooms, MINUTE);
        AddressLimits { connections, room_creations, addresses_max }
    }

    fn table(connections: u32, rooms: u64, addresses_max: usize) -> Arc<Addresses> {
        Addresses::new(limits(connections, rooms, addresses_max), Instant::START).unwrap()
    }

    fn v4(n: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, n).into()
    }

    fn at(seconds: u64) -> Instant {
        Instant::START.after(Duration::from_secs(seconds))
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let addresses = table(2, 1, 10);
        let first = addresses.connect(v4(1), at(0)).unwrap();
        let second = addresses.connect(v4(1), at(0)).unwrap();
        assert_eq!(addresses.connect(v4(1), at(0)).err(), Some(TooMany::Connections));
        let _other = addresses.connect(v4(2), at(0)).unwrap();
        drop(first);
        let third = addresses.connect(v4(1), at(0)).unwrap();
        drop((second, third));
        let both: Vec<_> = (0..2).map(|_| addresses.connect(v4(1), at(0)).unwrap()).collect();
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn ipv6_counts_by_its_first_64_bits_and_mapped_ipv4_as_ipv4() {
        let addresses = table(1, 1, 10);
        let v6 =
            |network, host| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, network, host, 0, 0, 1));
        let _first = addresses.connect(v6(1, 1), at(0)).unwrap();
        assert_eq!(addresses.connect(v6(1, 2), at(0)).err(), Some(TooMany::Connections));
        let _other = addresses.connect(v6(2, 1), at(0)).unwrap();

        let _v4 = addresses.connect(v4(1), at(0)).unwrap();
        let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into();
        assert_eq!(addresses.connect(mapped, at(0)).err(), Some(TooMany::Connections));
    }

    #[test]
    fn rooms_are_made_at_a_rate() {
        let addresses = table(1, 2, 10);
        assert_eq!(addresses.create_room(v4(1), at(0)), Ok(()));
        assert_eq!(addresses.create_room(v4(1), at(0)), Ok(()));
        let wait = Duration::from_secs(30);
        assert_eq!(addresses.create_room(v4(1), at(0)), Err(TooMany::RoomCreations(wait)));
        assert_eq!(addresses.create_room(v4(2), at(0)), Ok(()));
        assert_eq!(addresses.create_room(v4(1), at(30)), Ok(()));
    }

    #[test]
    fn a_full_table_makes_place_if_it_can_and_refuses_if_not() {
        let addresses = table(1, 1, 2);
        assert_eq!(addresses.create_room(v4(1), at(0)), Ok(()));
        let _guard = addresses.connect(v4(2), at(0)).unwrap();
        assert_eq!(addresses.connect(v4(3), at(59)).err(), Some(TooMany::Addresses));
        assert_eq!(addresses.create_room(v4(3), at(59)), Err(TooMany::Addresses));
        let _third = addresses.connect(v4(3), at(60)).expect("the first has nothing left to limit");
        assert_eq!(addresses.connect(v4(4), at(60)).err(), Some(TooMany::Addresses));
        assert_eq!(addresses.len(), 2);
    }

    #[test]
    fn connections_count_across_one_change_of_salt_and_are_forgotten_after_the_second() {
        let addresses = table(1, 1, 10);
        let guard = addresses.connect(v4(1), at(0)).unwrap();
        let day = SALT_LIFETIME.as_secs();
        let before = addresses.lock().current.key(v4(1));
        addresses.tend(at(day));
        assert!(addresses.lock().current.key(v4(1)) != before, "the salt changed");
        assert_eq!(addresses.connect(v4(1), at(day)).err(), Some(TooMany::Connections));
        addresses.tend(at(2 * day));
        let _late = addresses.connect(v4(1), at(2 * day)).expect("nobody knows of the first");
        drop(guard);
        let full = addresses.connect(v4(1), at(2 * day)).err();
        assert_eq!(full, Some(TooMany::Connections), "a forgotten guard frees nobody else's place");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Connect(u8),
        /// Drops the guard at this place of the list, counted around.
        Drop(usize),
        CreateRoom(u8),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6_u8).prop_map(Step::Connect),
            3 => any::<usize>().prop_map(Step::Drop),
            2 => (0..6_u8).prop_map(Step::CreateRoom),
            2 => (0..80_u64).prop_map(Step::Wait),
            1 => (40_000..90_000_u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Against a list of guards: no address exceeds its connections as long as its guards are
        /// remembered, the table is bounded, and without guards and after a minute it is empty.
        #[test]
        fn guards_end_at_zero(
            connections in 1..4_u32,
            addresses_max in 1..6_usize,
            history in prop::collection::vec(step(), 0..150),
        ) {
            let addresses = table(connections, 3, addresses_max);
            let mut guards = Vec::<(u8, Instant, AddressGuard)>::new();
            let mut now = Instant::START;
            for step in history {
                match step {
                    Step::Connect(n) => {
                        let young = |since: Instant| now.since(since) < SALT_LIFETIME;
                        let open = guards.iter().filter(|(m, at, _)| *m == n && young(*at)).count();
                        match addresses.connect(v4(n), now) {
                            Ok(guard) => {
                                prop_assert!(open < connections as usize);
                                guards.push((n, now, guard));
                            }
                            Err(TooMany::Connections) => {
                                let all = guards.iter().filter(|(m, _, _)| *m == n).count();
                                prop_assert!(all >= connections as usize);
                            }
                            Err(TooMany::Addresses) => {
                                prop_assert!(addresses.len() >= addresses_max);
                            }
                            Err(TooMany::RoomCreations(_)) => prop_assert!(false, "not asked for"),
                        }
                    }
                    Step::Drop(at) if !guards.is_empty() => {
                        let at = at % guards.len();
                        drop(guards.swap_remove(at));
                    }
                    Step::Drop(_) => {}
                    Step::CreateRoom(n) => _ = addresses.create_room(v4(n), now),
                    Step::Wait(seconds) => {
                        now = now.after(Duration::from_secs(seconds));
                        addresses.tend(now);
                    }
                }
                prop_assert!(addresses.len() <= addresses_max);
            }
            guards.clear();
            addresses.tend(now.after(MINUTE));
            prop_assert!(addresses.is_empty());
        }
    }
}
