//! How much one client address may take: connections, handshakes, requests, rooms, tokens, failures.
//!
//! Kept in memory only, as a keyed hash of the address' prefixes (`prefix`) under a random salt that
//! is replaced every 24 hours. The generation before stays for another 24 hours; an address that
//! comes again in that time keeps what it used, any other is forgotten. Connections are guards: what
//! came in goes out, also in a panic.
//!
//! What an entry decides is pure (`entry`, `penalty`); where entries are, and which of them goes
//! when the table is full, is `table`. One lock holds it all, for a few microseconds a request at most.

mod entry;
mod limits;
mod penalty;
mod prefix;
mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::entry::Entry;
use self::limits::Ceilings;
use self::table::{Places, Table};
use crate::config::Config;
use crate::core::close::Close;
use crate::core::limit::Instant;

pub use self::entry::{Quota, Refused};
pub use self::limits::AddressLimits;

/// The addresses that have connections or took something a moment ago.
pub struct Addresses {
    limits: AddressLimits,
    state: Mutex<State>,
}

struct State {
    table: Table,
    rotated_at: Instant,
}

/// One connection of an address; it counts until this is dropped.
#[must_use = "dropping the guard frees the connection's place"]
pub struct AddressGuard {
    addresses: Arc<Addresses>,
    places: Places,
}

impl Addresses {
    /// Creates an empty table with a random salt. Fails if the kernel has no random bytes.
    pub fn new(limits: AddressLimits, now: Instant) -> Result<Arc<Self>, getrandom::Error> {
        let state = State { table: Table::new()?, rotated_at: now };
        Ok(Arc::new(Self { limits, state: Mutex::new(state) }))
    }

    /// The table that a configuration asks for; none if addresses are not tracked.
    pub fn of(config: &Config, now: Instant) -> Result<Option<Arc<Self>>, getrandom::Error> {
        config.feature.ip_tracking.then(|| Self::new(config.into(), now)).transpose()
    }

    /// Counts a connection in.
    pub fn connect(self: &Arc<Self>, ip: IpAddr, now: Instant) -> Result<AddressGuard, Refused> {
        let act = |entry: &mut Entry, most: &Ceilings| entry.connect(most);
        let places = self.lock().table.apply(ip, &self.limits, now, act)?;
        Ok(AddressGuard { addresses: Arc::clone(self), places })
    }

    /// Takes one of the address' WebSocket handshakes. Refuses all of them for a while when its
    /// connections were closed for cause too often, and with them rooms and tokens.
    pub fn handshake(&self, ip: IpAddr, now: Instant) -> Result<(), Refused> {
        let act = |entry: &mut Entry, most: &Ceilings| entry.handshake(most, now);
        self.lock().table.apply(ip, &self.limits, now, act).map(|_| ())
    }

    /// Takes one of the address' HTTP requests.
    pub fn request(&self, ip: IpAddr, now: Instant) -> Result<(), Refused> {
        let act = |entry: &mut Entry, most: &Ceilings| entry.request(most, now);
        self.lock().table.apply(ip, &self.limits, now, act).map(|_| ())
    }

    /// Takes one of the address' new rooms.
    pub fn create_room(&self, ip: IpAddr, now: Instant) -> Result<(), Refused> {
        let act = |entry: &mut Entry, most: &Ceilings| entry.room(most, now);
        self.lock().table.apply(ip, &self.limits, now, act).map(|_| ())
    }

    /// Takes one of the address' tokens.
    pub fn create_token(&self, ip: IpAddr, now: Instant) -> Result<(), Refused> {
        let act = |entry: &mut Entry, most: &Ceilings| entry.token(most, now);
        self.lock().table.apply(ip, &self.limits, now, act).map(|_| ())
    }

    /// Counts a failed admission. An error says that it was one too many, and how long it takes
    /// until the address is told again what is wrong; those who do not fail are not asked.
    pub fn fail(&self, ip: IpAddr, now: Instant) -> Result<(), Refused> {
        let mut longest: Option<Refused> = None;
        let each = |entry: &mut Entry, most: &Ceilings| {
            if let Err(refused) = entry.fail(most, &self.limits.ladder, now)
                && longest.is_none_or(|known| known.wait < refused.wait)
            {
                longest = Some(refused);
            }
        };
        self.lock().table.each(ip, &self.limits, now, each)?;
        longest.map_or(Ok(()), Err)
    }

    /// Replaces the salt when it is old and drops addresses that have nothing left to limit.
    /// Meant to be called about once a second; keeps the old salt if there are no random bytes.
    pub fn tend(&self, now: Instant) {
        let mut state = self.lock();
        if now.since(state.rotated_at) >= SALT_LIFETIME && state.table.rotate().is_ok() {
            state.rotated_at = now;
        }
        state.table.sweep(&self.limits, now);
    }

    /// How many prefixes are kept, those of the generation before included.
    pub fn len(&self) -> usize {
        self.lock().table.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressGuard {
    /// Takes a handshake of the connection's address, as [`Addresses::handshake`] does for any.
    pub fn handshake(&self, now: Instant) -> Result<(), Refused> {
        let act = |entry: &mut Entry, most: &Ceilings| entry.handshake(most, now);
        self.addresses.lock().table.apply_at(&self.places, &self.addresses.limits, act)
    }

    /// Tells how the connection ended. If its peer was to blame (see [`Close::is_fault`]), the next
    /// handshake from there costs more.
    pub fn blame(&self, close: Close, now: Instant) {
        if close.is_fault() {
            let limits = &self.addresses.limits;
            let blame = |entry: &mut Entry, width| {
                entry.blame(limits.of(width), &limits.ladder, now);
            };
            self.addresses.lock().table.at(&self.places, blame);
        }
    }
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        let disconnect = |entry: &mut Entry, _| entry.disconnect();
        self.addresses.lock().table.at(&self.places, disconnect);
    }
}

const SALT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
