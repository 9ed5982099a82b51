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
#[derive(Default)]
pub(super) struct Turnstile<T> {
    inside: Mutex<T>,
    /// Somebody came while another one was inside.
    missed: AtomicBool,
}

impl<T> Turnstile<T> {
    /// Does the work, or leaves it to whoever is inside. The caller's share is out before the call.
    pub(super) fn pass(&self, mut work: impl FnMut(&mut T)) {
        loop {
            // Set before the lock is tried: either it is got, or its holder sees this afterwards.
            // Both sides exchange the flag, so that whichever comes second has seen what the other
            // one did before; a plain load or store could pass the lock on a weakly ordered machine.
            self.missed.swap(true, Ordering::AcqRel);
            let Some(mut inside) = self.try_enter() else { return };
            self.work(&mut inside, &mut work);
            drop(inside);
            if !self.missed.swap(false, Ordering::AcqRel) {
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
        self.missed.swap(false, Ordering::AcqRel);
        work(inside);
    }

    fn catch_up(&self, work: impl FnMut(&mut T)) {
        if self.missed.swap(false, Ordering::AcqRel) {
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
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    /// What is out, and how many are inside.
    #[derive(Default)]
    struct Shared {
        turnstile: Turnstile<usize>,
        out: AtomicUsize,
        inside: AtomicUsize,
    }

    impl Shared {
        /// Puts one share out and goes through.
        fn visit(&self, way: usize) {
            self.out.fetch_add(1, Ordering::SeqCst);
            match way {
                0 => self.turnstile.pass(|taken| self.take(taken)),
                1 => self.turnstile.pass_surely(|taken| self.take(taken)),
                _ => {
                    let take = |taken: &mut usize| self.take(taken);
                    if self.turnstile.try_instead(take, take).is_none() {
                        self.turnstile.pass(take);
                    }
                }
            }
        }

        /// Takes what is out, and is inside for some time before and after.
        fn take(&self, taken: &mut usize) {
            assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
            *taken += self.out.swap(0, Ordering::SeqCst);
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// What three threads put out is all taken when the last of them is done, whichever way each
    /// went through, and only one is inside at any moment.
    fn nothing_is_left_lying(ways: [usize; 3]) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(move || {
            let shared = Arc::new(Shared::default());
            let [own, others @ ..] = ways;
            let others = others.map(|way| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.visit(way))
            });
            shared.visit(own);
            for other in others {
                other.join().expect("no panic");
            }
            assert_eq!(shared.out.load(Ordering::SeqCst), 0, "left lying");
            shared.turnstile.pass_surely(|taken| assert_eq!(*taken, 3));
        });
    }

    #[test]
    fn loom_nothing_is_left_lying() {
        for ways in [[0, 2, 0], [1, 0, 2]] {
            nothing_is_left_lying(ways);
        }
    }
}
