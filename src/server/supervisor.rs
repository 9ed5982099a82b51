//! What the relay and whoever started it say to each other, in systemd's ways: sockets that are passed
//! in (`LISTEN_FDS`), and when the relay is ready and when it stops (`NOTIFY_SOCKET`).
//!
//! Without a supervisor nothing is passed, and nobody is told.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::warn;

use crate::http::App;

/// Listening sockets that whoever started this process has opened for it. They take the place of
/// those that the configuration describes.
#[derive(Default)]
pub struct Passed {
    pub(super) members: Option<TcpListener>,
    pub(super) operations: Option<TcpListener>,
}

impl Passed {
    /// Takes what was passed to this process: at most two sockets. `LISTEN_FDNAMES` says which is
    /// which, as `members` and `operations`; with other names or none, members come first. To be
    /// called once, before there are threads: it changes the environment.
    ///
    /// # Errors
    ///
    /// When more are passed, or one that is no TCP socket.
    pub fn take() -> io::Result<Self> {
        // Not a setting: it describes what was passed.
        let names = std::env::var_os("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let mut passed = Self::default();
        let mut unnamed = Vec::new();
        let names = names.to_string_lossy();
        let mut names = names.split(':');
        for index in 0..sockets.len() {
            let Some(socket) = sockets.take_tcp_listener(index)? else { continue };
            match names.next() {
                Some("members") if passed.members.is_none() => passed.members = Some(socket),
                Some("operations") if passed.operations.is_none() => {
                    passed.operations = Some(socket);
                }
                _ => unnamed.push(socket),
            }
        }
        for socket in unnamed {
            match passed.free() {
                Some(place) => *place = Some(socket),
                None => return Err(io::Error::new(io::ErrorKind::InvalidInput, TOO_MANY)),
            }
        }
        Ok(passed)
    }

    /// The first place that has no socket.
    fn free(&mut self) -> Option<&mut Option<TcpListener>> {
        [&mut self.members, &mut self.operations].into_iter().find(|place| place.is_none())
    }
}

/// What is said about a third socket.
const TOO_MANY: &str = "more than two sockets were passed (LISTEN_FDS)";

/// Waits until new members may come, or until it takes too long: a relay that waits for its Redis is
/// told to those who ask, and is not one that failed to start.
pub(super) async fn until_ready(app: &App) {
    let ready = async {
        let mut again = tokio::time::interval(LOOK_INTERVAL);
        while !app.is_ready() {
            again.tick().await;
        }
    };
    // Late or not: both are the end of waiting.
    let _ = tokio::time::timeout(READY_WAIT_MAX, ready).await;
}

/// Tells the supervisor once that the relay is ready.
pub(super) async fn tell_when_ready(app: Arc<App>) {
    until_ready(&app).await;
    tell(&NotifyState::Ready);
    // Tasks of the background end by a failure only.
    std::future::pending::<()>().await;
}

/// Tells the supervisor that the relay is about to stop.
pub(super) fn tell_stopping() {
    tell(&NotifyState::Stopping);
}

fn tell(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        warn!(%error, "the supervisor is not reached (NOTIFY_SOCKET)");
    }
}

/// How often to look whether it is ready.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Well below what supervisors wait for a start (systemd: 90 s).
const READY_WAIT_MAX: Duration = Duration::from_secs(10);
