//! One at a time does the work; who finds somebody at it leaves its share to that one.
//!
//! A mutex with a promise: work that was there when [`Turnstile::pass`] was called is done when it
//! returns, or will be by whoever is inside, before that one returns. So nobody waits, and nothing
//! is left lying. The model at the end of this file runs every interleaving.

#[cfg(lethewire_loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(lethewire_loom))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
use std::sync::{PoisonError, TryLockError};

/// Work that one thread at a time does, with a state `T` that only it sees.
pub(super) struct Turnstile<T> {
    inside: Mutex<T>,
    /// Somebody came while another one was inside.
    missed: AtomicBool,
}

impl<T> Turnstile<T> {
    pub(super) fn new(state: T) -> Self {
        Self { inside: Mutex::new(state), missed: AtomicBool::new(false) }
    }

    /// Does the work, or leaves it to whoever is inside. The caller's share is out before the call.
    pub(super) fn pass(&self, mut work: impl FnMut(&mut T)) {
        loop {
            // Set before the lock is tried: either it is got, or its holder sees this afterwards.
            self.missed.store(true, Ordering::SeqCst);
            let Some(mut inside) = self.try_enter() else { return };
            self.work(&mut inside, &mut work);
            drop(inside);
            if !self.missed.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Waits until nobody is inside, and does the work: it is done when this returns.
    pub(super) fn pass_surely(&self, mut work: impl FnMut(&mut T)) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        self.work(&mut inside, &mut work);
        drop(inside);
        self.catch_up(work);
    }

    /// Does `other` instead, which includes the work that is there now, if nobody is inside.
    /// `work` is for what others leave meanwhile.
    pub(super) fn try_instead<R>(
        &self,
        other: impl FnOnce(&mut T) -> R,
        work: impl FnMut(&mut T),
    ) -> Option<R> {
        let mut inside = self.try_enter()?;
        let result = other(&mut inside);
        drop(inside);
        self.catch_up(work);
        Some(result)
    }

    fn work(&self, inside: &mut T, work: &mut impl FnMut(&mut T)) {
        // Whoever sets it from now on had its share out before, so the work below finds it.
        self.missed.store(false, Ordering::SeqCst);
        work(inside);
    }

    fn catch_up(&self, work: impl FnMut(&mut T)) {
        if self.missed.load(Ordering::SeqCst) {
            self.pass(work);
        }
    }

    fn try_enter(&self) -> Option<MutexGuard<'_, T>> {
        match self.inside.try_lock() {
            Ok(inside) => Some(inside),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(all(test, lethewire_loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// What three threads put out is all taken when the last of them is done, whichever way each
    /// went through, and only one is inside at any moment.
    #[test]
    fn loom_nothing_is_left_lying() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let shared = Arc::new((Turnstile::new(0), Mutex::new(0)));
            let visit = |way: usize, shared: &(Turnstile<i32>, Mutex<i32>)| {
                let (turnstile, out) = shared;
                let take = |taken: &mut i32| {
                    *taken += std::mem::take(&mut *out.lock().expect("no model panics with it"));
                };
                *out.lock().expect("no model panics with it") += 1;
                match way {
                    0 => turnstile.pass(take),
                    1 => turnstile.pass_surely(take),
                    _ => {
                        if turnstile.try_instead(take, take).is_none() {
                            turnstile.pass(take);
                        }
                    }
                }
            };
            let others: Vec<_> = [0, 2]
                .into_iter()
                .map(|way| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || visit(way, &shared))
                })
                .collect();
            visit(1, &shared);
            for other in others {
                other.join().expect("no panic");
            }
            let (turnstile, out) = &*shared;
            assert_eq!(*out.lock().expect("unlocked"), 0, "left lying");
            turnstile.pass_surely(|taken| assert_eq!(*taken, 3));
        });
    }
}
