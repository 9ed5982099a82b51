//! A link between a relay and Redis that can be cut, clogged and slowed, and that can keep a copy of
//! all that passes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What a link does with what it is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Passes it on, so much later.
    Open(Duration),
    /// Keeps it, and says nothing, as a network that loses every packet.
    Clogged,
    /// Ends every connection, new ones too.
    Cut,
}

/// How many reads may be on the way in one direction of a connection.
const ON_THE_WAY: usize = 1024;

/// A listener in front of a server.
pub(crate) struct Link {
    /// Where it listens, on loopback.
    pub(crate) port: u16,
    state: watch::Sender<State>,
    copy: Copied,
    _running: JoinSet<()>,
}

/// What has passed, if somebody wants it.
type Copied = Arc<Mutex<Option<Vec<u8>>>>;

impl Link {
    /// A link to this port of loopback.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let (state, seen) = watch::channel(State::Open(Duration::ZERO));
        let copy = Copied::default();
        let mut running = JoinSet::new();
        running.spawn(accept(listener, port, seen, Arc::clone(&copy)));
        Self { port: own_port, state, copy, _running: running }
    }

    /// From now on it does this.
    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Begins to keep all bytes, in both directions.
    pub(crate) fn record(&self) {
        *self.copy.lock().unwrap() = Some(Vec::new());
    }

    /// The bytes since then.
    pub(crate) fn recorded(&self) -> Vec<u8> {
        self.copy.lock().unwrap().take().expect("it was told to record")
    }
}

async fn accept(listener: TcpListener, to: u16, state: watch::Receiver<State>, copy: Copied) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        if *state.borrow() == State::Cut {
            continue;
        }
        let (state, copy) = (state.clone(), Arc::clone(&copy));
        connections.spawn(async move {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else { return };
            // Without it, small packets wait for each other.
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            let mut cut = state.clone();
            tokio::select! {
                () = pump(near_read, far_write, state.clone(), &copy) => {}
                () = pump(far_read, near_write, state.clone(), &copy) => {}
                _ = cut.wait_for(|state| *state == State::Cut) => {}
            }
        });
    }
}

/// Passes bytes on in one direction until an end, at the speed of the link's state.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    copy: &Copied,
) {
    let (sender, mut queue) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let delays = state.clone();
    let reading = async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let delay = match *delays.borrow() {
                State::Open(delay) => delay,
                State::Clogged | State::Cut => Duration::ZERO,
            };
            let bytes = buffer[..read].to_vec();
            if let Some(copy) = copy.lock().unwrap().as_mut() {
                copy.extend_from_slice(&bytes);
            }
            if sender.send((Instant::now() + delay, bytes)).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = queue.recv().await {
            // The way takes that long.
            let _ = tokio::time::timeout_at(due, std::future::pending::<()>()).await;
            let is_open = |state: &State| matches!(state, State::Open(_));
            if state.wait_for(is_open).await.is_err() || to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}
