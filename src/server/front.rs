//! The front door: threads of their own for everybody who is not a member yet.
//!
//! Accepting, HTTP and handshakes run there, and a connection moves to the relay's other threads when
//! it has a place in a room. So whoever floods the relay with connections and requests takes the
//! time of these threads, and the system, which shares the cores out among threads, keeps the others'
//! for the members.

use std::io;

use tokio::net::TcpStream;
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

/// From now on `there` hears of what happens on a socket.
pub(super) fn pass(stream: TcpStream, there: &Handle) -> io::Result<TcpStream> {
    let stream = stream.into_std()?;
    let _there = there.enter();
    TcpStream::from_std(stream)
}
