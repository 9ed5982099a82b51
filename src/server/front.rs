//! The front door: threads of their own for everybody who is not a member yet.
//!
//! Accepting, HTTP and handshakes run there, and a connection moves to the relay's other threads when
//! it has a place in a room. So whoever floods the relay with connections and requests takes the
//! time of these threads, and the system, which shares the cores out among threads, keeps the others'
//! for the members.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

/// The threads for who is not a member yet. Dropping it ends what they do.
pub(super) struct FrontDoor {
    /// Taken only when it is dropped.
    threads: Option<Runtime>,
    handle: Handle,
}

impl FrontDoor {
    /// Starts as many threads. `None` if that is zero: then members' threads do all of it.
    pub(super) fn open(threads: u32) -> io::Result<Option<Self>> {
        if threads == 0 {
            return Ok(None);
        }
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads as usize).thread_name("lethewire-front").enable_all();
        builder.on_thread_start(step_back);
        let threads = builder.build()?;
        Ok(Some(Self { handle: threads.handle().clone(), threads: Some(threads) }))
    }

    /// Where to start what is done at the door.
    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for FrontDoor {
    fn drop(&mut self) {
        // Waiting for them is not possible where tasks run, and not needed: what they do can stop anywhere.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Has this thread not take the core from a member's whenever somebody new comes: they come in fewer turns
/// then, more of them in each. Only Linux knows priorities of single threads.
fn step_back() {
    // Less priority is always granted, but whoever runs us may forbid the call. Then it stays as it was.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICER);
}

/// A third of the time that a member's thread has, where both want the same core (sched(7), "The nice
/// value").
#[cfg(target_os = "linux")]
const NICER: i32 = 5;

/// Most turns of the scheduler that newcomers wait for more, while more come. In a turn, up to sixteen
/// connections are looked at.
const ROUNDS_MAX: u32 = 16;

/// Those who are on their way from the door to where members are. Whoever comes first waits for those who
/// are ready too, as long as more are, and takes them along: members' threads are woken once for all.
pub(super) struct Doorstep<T>(Mutex<Vec<T>>);

impl<T> Doorstep<T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Puts one there. Returns whether it is the first: then the caller sees to it that somebody
    /// gathers them.
    #[must_use = "whoever is there stays there until somebody gathers them"]
    pub(super) fn put(&self, one: T) -> bool {
        let mut waiting = self.lock();
        waiting.push(one);
        waiting.len() == 1
    }

    /// All who are there when it is time to go.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves all of them where they are, and whoever comes after them too: only
    /// the end of these threads may do that.
    pub(super) async fn gather(&self) -> Vec<T> {
        let mut waiting = self.lock().len();
        for _ in 0..ROUNDS_MAX {
            tokio::task::yield_now().await;
            let before = std::mem::replace(&mut waiting, self.lock().len());
            if waiting <= before {
                break;
            }
        }
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn its_threads_are_nicer_than_those_of_members() {
        let niceness = || rustix::process::nice(0).unwrap();
        let before = niceness();
        let front = FrontDoor::open(1).unwrap().unwrap();
        let at_the_door = front.handle().block_on(front.handle().spawn(async move { niceness() }));
        assert_eq!(at_the_door.unwrap(), (before + NICER).min(19), "and 19 is the most");
        assert_eq!(niceness(), before, "the threads of others are as they were");
    }

    #[tokio::test]
    async fn the_first_one_takes_along_who_comes_as_long_as_somebody_does() {
        let doorstep = Doorstep::new();
        assert!(doorstep.put(1), "the first one has them gathered");
        assert!(!doorstep.put(2));
        let later = async {
            tokio::task::yield_now().await;
            assert!(!doorstep.put(3));
        };
        let (together, ()) = tokio::join!(doorstep.gather(), later);
        assert_eq!(together, [1, 2, 3]);
        assert!(doorstep.put(4));
        assert_eq!(doorstep.gather().await, [4], "nobody is taken twice");
    }
}
