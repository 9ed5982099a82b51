//! What scrapes have shown so far: which series have ever been other than they are when nothing has
//! happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use lethewire::clock;
use lethewire::metrics::Metrics;

use super::{samples, series};
use crate::harness::{TestRelay, soon};

/// Which series have moved.
pub(super) struct Seen {
    blank: BTreeMap<String, f64>,
    moved: Mutex<BTreeSet<String>>,
}

impl Seen {
    /// Nothing has.
    pub(super) fn nothing() -> Self {
        let blank = samples(&Metrics::new().encode(clock::now())).into_iter().collect();
        Self { blank, moved: Mutex::default() }
    }

    /// Scrapes a relay.
    pub(super) async fn look(&self, relay: &TestRelay) {
        let shown = series(relay).await;
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in shown {
            if (value - self.blank[&name]).abs() > 0.0 {
                moved.insert(name);
            }
        }
    }

    /// Scrapes a relay, and again until all of these have moved.
    pub(super) async fn until(&self, relay: &TestRelay, names: &[&str]) {
        self.look(relay).await;
        for name in names {
            let name = format!("lethewire_{name}");
            assert!(self.blank.contains_key(&name), "there is no {name}");
            soon(&name, async {
                while !self.has(&name) {
                    self.look(relay).await;
                }
            })
            .await;
        }
    }

    /// All series that never moved.
    pub(super) fn unmoved(&self) -> Vec<&str> {
        self.blank.keys().filter(|name| !self.has(name)).map(String::as_str).collect()
    }

    /// The names of all series.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.blank.keys().map(String::as_str)
    }

    fn has(&self, name: &str) -> bool {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}
