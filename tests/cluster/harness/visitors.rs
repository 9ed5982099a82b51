//! People who come, see who is there and go, again and again: the load of joins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::Message;

use super::client::open;
use super::{Room, Watch, soon};

/// What visitors have met with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visits {
    /// Visits that saw who is there.
    pub(crate) welcomed: u64,
    /// The longest way in, in seconds, with further attempts where the first one was refused.
    pub(crate) longest_wait: f64,
    /// Attempts that failed: HTTP status or close code; 0 is a connection that was refused or reset.
    pub(crate) refusals: BTreeMap<u16, usize>,
}

/// Visitors of rooms at an address. Dropping it sends them away.
pub(crate) struct Visitors {
    visits: Arc<Mutex<Visits>>,
    stop: watch::Sender<bool>,
    lives: JoinSet<()>,
}

impl Visitors {
    /// So many who come again so soon.
    pub(crate) fn come(rooms: &[Room], addr: SocketAddr, count: usize, pace: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut visitors = Self { visits: Arc::default(), stop, lives: JoinSet::new() };
        for room in rooms.iter().cycle().take(count) {
            let room = room.clone();
            let (visits, stopped) = (Arc::clone(&visitors.visits), stopped.clone());
            visitors.lives.spawn(async move {
                let mut turns = tokio::time::interval(pace);
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !*stopped.borrow() {
                    turns.tick().await;
                    visit(&room, addr, &visits).await;
                }
            });
        }
        visitors
    }

    /// Sends them away, and returns what they have met with.
    pub(crate) async fn go(mut self) -> Visits {
        self.stop.send_replace(true);
        while let Some(life) = soon("visitors to go", self.lives.join_next()).await {
            life.expect("no panic");
        }
        self.visits.lock().unwrap().clone()
    }
}

/// Comes in, and goes; tries again as long as it is refused.
async fn visit(room: &Room, addr: SocketAddr, visits: &Mutex<Visits>) {
    let watch = Watch::start();
    let mut again = tokio::time::interval(Duration::from_millis(100));
    loop {
        again.tick().await;
        match enter(room, addr).await {
            Ok(()) => break,
            Err(code) => *visits.lock().unwrap().refusals.entry(code).or_default() += 1,
        }
    }
    let mut visits = visits.lock().unwrap();
    visits.welcomed += 1;
    visits.longest_wait = visits.longest_wait.max(watch.seconds());
}

async fn enter(room: &Room, addr: SocketAddr) -> Result<(), u16> {
    let token = room.restore(addr).await?;
    let mut socket = open(addr, &token).await?;
    match soon("a welcome", socket.next()).await {
        Some(Ok(Message::Text(text))) => assert!(text.contains("\"welcome\""), "{text}"),
        Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
        _ => return Err(0),
    }
    // Whatever ends it now is no matter of coming in.
    let _ = socket.send(Message::text(r#"{"type":"leave"}"#)).await;
    soon("the end", async { while let Some(Ok(_)) = socket.next().await {} }).await;
    Ok(())
}
