//! What addresses may take, asked and told: `admission::addresses` decides, this says it in HTTP.
//!
//! A refusal is 429 with the name of the limit in `RateLimit-Policy`, what it allows, and when to
//! come back; or 503 where all addresses together are too many. No answer is held back to slow
//! somebody down: whoever asks too fast is told when to ask again, and nothing of it stays here.

use std::net::IpAddr;
use std::time::Duration;

use super::App;
use super::problem::Problem;
use crate::admission::addresses::{AddressGuard, Addresses, Quota, Refused};
use crate::clock;
use crate::config::Limits;
use crate::core::limit::Instant;
use crate::metrics::Refusal;

impl App {
    /// Counts one more connection of an address, unless it has too many.
    pub fn connect(&self, from: IpAddr) -> Result<Option<AddressGuard>, Refusal> {
        let Some(addresses) = &self.addresses else { return Ok(None) };
        let guard = addresses.connect(from, clock::now());
        guard.map(Some).map_err(|refused| reason(refused.quota))
    }

    /// Takes a request of an address.
    pub(super) fn take_request(&self, from: IpAddr) -> Result<(), Problem> {
        self.ask(|addresses, now| addresses.request(from, now))
    }

    /// Takes a handshake of an address, where its connection is counted if it is.
    pub(super) fn take_handshake(
        &self,
        from: IpAddr,
        counted: Option<&AddressGuard>,
    ) -> Result<(), Problem> {
        self.ask(|addresses, now| match counted {
            Some(counted) => counted.handshake(now),
            None => addresses.handshake(from, now),
        })
    }

    /// Takes a new room of an address.
    pub(super) fn take_room(&self, from: IpAddr) -> Result<(), Problem> {
        self.ask(|addresses, now| addresses.create_room(from, now))
    }

    /// Takes a token of an address.
    pub(super) fn take_token(&self, from: IpAddr) -> Result<(), Problem> {
        self.ask(|addresses, now| addresses.create_token(from, now))
    }

    /// Counts an admission that failed; an error when those were too many. Only who fails is asked,
    /// so that nobody is kept out by a neighbour who guesses.
    pub(super) fn take_failure(&self, from: IpAddr) -> Result<(), Problem> {
        self.ask(|addresses, now| addresses.fail(from, now))
    }

    fn ask(
        &self,
        take: impl FnOnce(&Addresses, Instant) -> Result<(), Refused>,
    ) -> Result<(), Problem> {
        let Some(addresses) = &self.addresses else { return Ok(()) };
        take(addresses, clock::now()).map_err(|refused| {
            self.metrics.refused(reason(refused.quota));
            problem(refused, &self.config.limit)
        })
    }

    /// The answer to somebody for whose connection there is no place.
    pub(super) fn no_place(&self, refusal: Refusal) -> Problem {
        self.metrics.refused(refusal);
        match refusal {
            Refusal::AddressConnections => {
                let refused = Refused { quota: Quota::Connections, wait: CONNECTIONS_WAIT };
                problem(refused, &self.config.limit)
            }
            _ => Problem::reduced_capacity(),
        }
    }
}

/// How a refusal is counted.
const fn reason(quota: Quota) -> Refusal {
    match quota {
        Quota::Connections => Refusal::AddressConnections,
        Quota::Handshakes => Refusal::AddressHandshakes,
        Quota::Requests => Refusal::AddressRequests,
        Quota::Rooms => Refusal::RoomCreations,
        Quota::Tokens => Refusal::AddressTokens,
        Quota::Pace => Refusal::AddressPace,
        Quota::Failures => Refusal::AddressFailures,
        Quota::Faults => Refusal::AddressFaults,
        Quota::Addresses => Refusal::Addresses,
    }
}

/// How a refusal is told. The names are part of the protocol, and `docs/protocol.md` lists them.
fn problem(Refused { quota, wait }: Refused, limit: &Limits) -> Problem {
    let told = |name, amount: u32, window_s: u64| {
        let window = Duration::from_secs(window_s);
        Problem::quota_exceeded(name, u64::from(amount), window, wait)
    };
    match quota {
        Quota::Connections => {
            told("connections", limit.connections_per_address, CONNECTIONS_WAIT.as_secs())
        }
        Quota::Handshakes => told("handshakes", limit.handshakes_per_10s, 10),
        Quota::Requests => told("requests", limit.requests_per_min, 60),
        Quota::Rooms => told("room-creations", limit.room_creates_per_min, 60),
        Quota::Tokens => told("tokens", limit.tokens_per_min, 60),
        Quota::Pace => told("pace", 1, u64::from(limit.slow_max_ms.div_ceil(1000))),
        Quota::Failures => told("failed-admissions", limit.failed_admissions_per_min, 60),
        Quota::Faults => told("closes-for-cause", limit.faults, u64::from(limit.penalty_memory_s)),
        Quota::Addresses => Problem::reduced_capacity(),
    }
}

/// Connections come free when others end; there is no telling when.
const CONNECTIONS_WAIT: Duration = Duration::from_secs(5);
