//! Join tokens that were used: each is good for one handshake.
//!
//! Names of tokens are kept in two generations. A generation is as long as a token can be accepted,
//! so when one is dropped, whatever it holds has expired by itself; nothing needs a timer or a time
//! per entry. The number of names is bounded, and a full list refuses instead of forgetting. Time
//! is monotonic: tokens that a jump of the day's clock makes young again are beyond this list.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::{Config, Token};
use crate::core::id::Jti;
use crate::core::limit::Instant;
use crate::core::token::KidIndex;

/// The tokens that were used, for as long as any of them could be accepted again.
pub struct Replay {
    /// How long a token can be accepted at most.
    validity: Duration,
    entries_max: usize,
    used: Mutex<Used>,
}

/// Why a token's name could not be burnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Burn {
    /// The token was used before.
    #[error("the token was used before")]
    Used,
    /// There is no room to remember another one, so it must not be accepted.
    #[error("the list of used tokens is full")]
    Full,
}

#[derive(Default)]
struct Used {
    current: HashSet<Name>,
    previous: HashSet<Name>,
    /// When the current generation began.
    since: Instant,
}

/// A key's index and the decoded name, never the token's text: one text has many spellings.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name {
    kid: KidIndex,
    jti: Jti,
}

impl Replay {
    /// Creates an empty list for tokens that can be accepted for at most `validity`, from the
    /// earliest to the latest moment, skew on both sides included.
    pub fn new(validity: Duration, entries_max: usize) -> Self {
        Self { validity, entries_max, used: Mutex::default() }
    }

    /// Creates the list for the tokens that a configuration accepts.
    pub fn of(config: &Config) -> Self {
        let Token { ttl_max_s, skew_s, replay_entries_max, .. } = config.token;
        // From `skew` before it was issued to `skew` after it expired.
        let validity = Duration::from_secs(u64::from(ttl_max_s) + 2 * u64::from(skew_s) + 1);
        Self::new(validity, usize::try_from(replay_entries_max).unwrap_or(usize::MAX))
    }

    /// Uses a token: the first call with a name succeeds, and none after it for `validity`.
    pub fn burn(&self, kid: KidIndex, jti: Jti, now: Instant) -> Result<(), Burn> {
        let name = Name { kid, jti };
        let mut used = self.lock();
        used.rotate(self.validity, now);
        if used.current.contains(&name) || used.previous.contains(&name) {
            return Err(Burn::Used);
        }
        if used.len() >= self.entries_max {
            return Err(Burn::Full);
        }
        used.current.insert(name);
        Ok(())
    }

    /// Frees the names of tokens that have expired. Right without it, only larger.
    pub fn rotate(&self, now: Instant) {
        self.lock().rotate(self.validity, now);
    }

    /// How many names are kept.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }

    /// Starts a new generation when the current one is as old as a token gets.
    fn rotate(&mut self, validity: Duration, now: Instant) {
        let age = now.since(self.since);
        if age >= validity * 2 {
            (self.current, self.previous) = Default::default();
            self.since = now;
        } else if age >= validity {
            self.previous = std::mem::take(&mut self.current);
            self.since = self.since.after(validity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const VALIDITY: Duration = Duration::from_secs(120);

    fn jti(n: u8) -> Jti {
        Jti::from_bytes([n; Jti::LEN])
    }

    #[test]
    fn a_token_is_good_once_per_key() {
        let replay = Replay::new(VALIDITY, 10);
        let now = Instant::START;
        assert_eq!(replay.burn(KidIndex(0), jti(1), now), Ok(()));
        assert_eq!(replay.burn(KidIndex(0), jti(1), now), Err(Burn::Used));
        assert_eq!(replay.burn(KidIndex(1), jti(1), now), Ok(()), "another key's token");
        assert_eq!(replay.len(), 2);
    }

    #[test]
    fn a_full_list_refuses_and_does_not_forget() {
        let replay = Replay::new(VALIDITY, 2);
        let now = Instant::START;
        assert_eq!(replay.burn(KidIndex(0), jti(1), now), Ok(()));
        assert_eq!(replay.burn(KidIndex(0), jti(2), now), Ok(()));
        assert_eq!(replay.burn(KidIndex(0), jti(3), now), Err(Burn::Full));
        assert_eq!(replay.burn(KidIndex(0), jti(1), now), Err(Burn::Used));
        assert_eq!(replay.burn(KidIndex(0), jti(3), now.after(VALIDITY)), Err(Burn::Full));
        assert_eq!(replay.burn(KidIndex(0), jti(3), now.after(2 * VALIDITY)), Ok(()));
    }

    #[test]
    fn names_are_freed_without_another_token() {
        let replay = Replay::new(VALIDITY, 2);
        assert_eq!(replay.burn(KidIndex(0), jti(1), Instant::START), Ok(()));
        replay.rotate(Instant::START.after(VALIDITY));
        assert_eq!(replay.len(), 1, "it could have been burnt a moment ago");
        replay.rotate(Instant::START.after(2 * VALIDITY));
        assert!(replay.is_empty());
    }

    #[test]
    fn of_many_at_once_one_wins() {
        let replay = Replay::new(VALIDITY, 100);
        let wins: usize = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        usize::from(replay.burn(KidIndex(0), jti(1), Instant::START).is_ok())
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
    }

    proptest! {
        /// Against a model that keeps every name for ever: nothing is accepted twice within its
        /// validity, a fresh name is refused only when the list is full, and the list is bounded.
        #[test]
        fn accepts_each_name_once_within_its_validity(
            history in prop::collection::vec((0..3_u8, 0..12_u8, 0..50_u64), 1..300),
            entries_max in 1..20_usize,
        ) {
            let replay = Replay::new(VALIDITY, entries_max);
            let mut accepted = BTreeMap::<(u8, u8), Instant>::new();
            let mut now = Instant::START;
            for (kid, n, wait_s) in history {
                now = now.after(Duration::from_secs(wait_s));
                let last = accepted.get(&(kid, n)).copied();
                let answer = replay.burn(KidIndex(kid), jti(n), now);
                let young = |at: &Instant, periods: u32| now.since(*at) < VALIDITY * periods;
                if last.is_some_and(|at| young(&at, 1)) {
                    prop_assert_eq!(answer, Err(Burn::Used));
                }
                match answer {
                    Ok(()) => _ = accepted.insert((kid, n), now),
                    Err(Burn::Used) => prop_assert!(last.is_some_and(|at| young(&at, 2))),
                    Err(Burn::Full) => {
                        let kept = accepted.values().filter(|at| young(at, 2)).count();
                        prop_assert!(kept >= entries_max);
                    }
                }
                prop_assert!(replay.len() <= entries_max);
            }
        }
    }
}
