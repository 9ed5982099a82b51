//! The end of a connection that was answered while more was on its way.
//!
//! A socket that is closed with something unread in it is reset, and the reset may overtake the answer,
//! most of all through a proxy: then nobody hears why. So our side ends first, and what still comes is
//! thrown away for a moment (RFC 9112, section 9.6).

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Ends a connection so that its last answer arrives: at once where the other side ends it too.
pub(super) async fn linger(stream: TcpStream) {
    if SockRef::from(&stream).shutdown(Shutdown::Write).is_ok() {
        let _late = tokio::time::timeout(LINGER_TIME, discard(&stream)).await;
    }
}

/// Reads until the other side ends it, or it was too much.
async fn discard(stream: &TcpStream) {
    let mut left = LINGER_BYTES;
    while stream.readable().await.is_ok() {
        // Not cleared, as nobody looks at it.
        let mut waste = [MaybeUninit::uninit(); READ_BYTES];
        let read = || SockRef::from(stream).recv(&mut waste);
        match stream.try_io(Interest::READABLE, read) {
            Ok(n @ 1..) if n < left => left -= n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

/// What one read throws away: whoever floods is read to its bound in a few of them.
const READ_BYTES: usize = 16 * 1024;

/// A few round trips; whoever goes on sending for longer does not listen.
const LINGER_TIME: Duration = Duration::from_millis(500);

/// As much as is on its way on a fast and distant connection.
const LINGER_BYTES: usize = 256 * 1024;
