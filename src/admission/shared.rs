//! What nodes share about who may come in: records of rooms, and tokens that were used.
//!
//! [`Records`] stays what this node knows; here it is asked for, changed and kept where all nodes
//! see it. Whatever decides about somebody loads first. Nothing is decided without an answer: whoever
//! cannot be asked is [`Failure::Down`]. What was lost there and is known here is put back where that
//! matters: rooms with members, locks and tombstones.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use super::records::{Known, Made, Records, Refused};
use crate::bus::{Batch, Bus, Down, Stored};
use crate::clock;
use crate::config::{Config, Token};
use crate::core::admission::{OwnerHash, RoomOptions, WantedOptions};
use crate::core::entry::Entry;
use crate::core::id::{Jti, Kid, MemberId, RoomId};
use crate::core::limit::Instant;
use crate::core::record::Record;
use crate::core::wire::Gone;
use crate::metrics::{Count, Metrics, RoomOperation};

/// Records and used tokens of all nodes.
pub struct Shared {
    bus: Arc<Bus>,
    records: Arc<Records>,
    metrics: Arc<Metrics>,
    /// How long a token can be accepted at most.
    validity: Duration,
    timeout: Duration,
    retries: u32,
    ends_idle: bool,
}

/// Why something was not done, or is not known to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The other nodes cannot be asked. What was to be changed may have changed.
    #[error("the bus is down")]
    Down,
    /// The answer is no.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<Down> for Failure {
    fn from(Down: Down) -> Self {
        Self::Down
    }
}

impl Shared {
    /// Shares what `records` knows with all nodes on the bus.
    pub fn new(
        bus: Arc<Bus>,
        records: Arc<Records>,
        metrics: Arc<Metrics>,
        config: &Config,
    ) -> Self {
        let Token { ttl_max_s, skew_s, .. } = config.token;
        // From `skew` before it was issued to `skew` after it expired.
        let validity = Duration::from_secs(u64::from(ttl_max_s) + 2 * u64::from(skew_s) + 1);
        Self {
            bus,
            records,
            metrics,
            validity,
            timeout: config.bus.timeout(),
            retries: config.bus.retries,
            ends_idle: config.feature.auto_room_cleanup,
        }
    }

    /// The bus itself.
    pub const fn bus(&self) -> &Arc<Bus> {
        &self.bus
    }

    /// Brings what this node knows of a room up to date; a room that nobody knows is then unknown.
    ///
    /// # Errors
    ///
    /// `Down`, and `Full` when this node knows as many rooms as it may.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn load(&self, room: &RoomId) -> Result<(), Failure> {
        match self.ask(|| self.bus.load(room)).await? {
            Some(stored) => self.take_over(room, &stored).await,
            None => self.put_back(room).await,
        }
    }

    /// Makes a record, or finds the one that is there; as [`Records::create`], for all nodes.
    ///
    /// # Errors
    ///
    /// `Down`, `Closed`, and `Full` when this node knows as many rooms as it may.
    pub async fn create(
        &self,
        room: &RoomId,
        owner: impl Into<Option<OwnerHash>>,
        options: RoomOptions,
    ) -> Result<Made, Failure> {
        let owner = owner.into();
        if self.records.view(room).is_none() && self.records.is_full() {
            return Err(Refused::Full.into());
        }
        let mut record = Record::new(owner, options);
        let time = record.time(Duration::from_secs(options.ttl_s.into()), self.ends_idle);
        let bytes = record.encode();
        let (stored, new) = self.ask(|| self.bus.create(room, &bytes, time)).await?;
        self.take_over(room, &stored).await?;
        let found = read(&stored)?;
        if found.closed {
            return Err(Refused::Closed.into());
        }
        if found.owner.is_none() && owner.is_some() {
            let adopt = |record: &mut Record, life| {
                record.owner = record.owner.or(owner);
                Ok(life)
            };
            self.change(room, adopt).await?;
        }
        Ok(Made { new })
    }

    /// Turns the record into a tombstone, and ends the room on all nodes.
    ///
    /// # Errors
    ///
    /// `Down`, `Unknown`, and `Closed` when it was one; then the nodes are told again.
    pub async fn close(&self, room: &RoomId) -> Result<(), Failure> {
        let close = |record: &mut Record, life| {
            record.closed = true;
            Ok(life)
        };
        match self.change(room, close).await {
            closed @ (Ok(()) | Err(Failure::Refused(Refused::Closed))) => {
                if closed.is_ok() {
                    self.metrics.add(Count::RoomsClosed, 1);
                    self.metrics.room_did(RoomOperation::Close);
                }
                self.announce(room, &Entry::Closed).await?;
                closed
            }
            failed => failed,
        }
    }

    /// Keeps new members out, or lets them in again, and tells all nodes.
    ///
    /// # Errors
    ///
    /// `Down`, `Unknown`, `Closed`.
    pub async fn set_locked(&self, room: &RoomId, locked: bool) -> Result<(), Failure> {
        let lock = |record: &mut Record, life| {
            record.locked = locked;
            Ok(life)
        };
        self.change(room, lock).await?;
        self.announce(room, &Entry::Changed).await
    }

    /// Changes a room's options, and tells all nodes.
    ///
    /// # Errors
    ///
    /// `Down`, `Unknown`, `Closed`, and `Options` when one is out of range.
    pub async fn set_options(&self, room: &RoomId, wanted: &WantedOptions) -> Result<(), Failure> {
        let ceilings = self.records.ceilings();
        let set = |record: &mut Record, life| {
            record.set_options(wanted, ceilings, life).map_err(|_| Refused::Options)
        };
        self.change(room, set).await?;
        self.announce(room, &Entry::Changed).await
    }

    /// Removes a member, on whichever node it is; false if it is on none.
    ///
    /// # Errors
    ///
    /// `Down`.
    pub async fn kick(&self, room: &RoomId, member: MemberId) -> Result<bool, Down> {
        let entry = Entry::Leave { member, why: Gone::Kicked };
        let batch = Batch { leaves: vec![member], ..batch(&entry) };
        let is_kicked = self.bus.announce(room, batch).await?.is_ok();
        self.metrics.add(Count::Kicks, u64::from(is_kicked));
        Ok(is_kicked)
    }

    /// Uses a token: true for the first call with a name on any node, and false for each after it.
    /// It is not asked twice: after an answer that did not come, the token counts as used.
    ///
    /// # Errors
    ///
    /// `Down`; then the token must not be accepted.
    pub async fn burn(&self, kid: &Kid, jti: Jti) -> Result<bool, Down> {
        // A kid has no zero byte, so that no two pairs are one name.
        let name = [kid.as_str().as_bytes(), &[0], jti.as_bytes()].concat();
        self.bus.burn(&name, self.validity).await
    }

    /// Says of all rooms with members here that they are in use, as far as it is time to; to be
    /// called once a second.
    ///
    /// # Cancel safety
    ///
    /// What was not said is said ten seconds later.
    pub async fn refresh(&self, now: Instant) {
        let due = self.records.due(now, REFRESHED_AT_ONCE_MAX);
        let touches = stream::iter(&due).for_each_concurrent(REFRESHES_UNDER_WAY, async |room| {
            // What fails is tried again; members hear of an outage by other means.
            let _ = self.touch(room).await;
        });
        touches.await;
    }

    async fn touch(&self, room: &RoomId) -> Result<(), Failure> {
        let now = clock::now();
        let Some(Known { mut record, version, life, .. }) = self.records.known(room, now) else {
            return Ok(());
        };
        let time = record.time(life, self.ends_idle);
        if self.bus.replace(room, version, &record.encode(), Some(time)).await? {
            return Ok(self.records.install(room, &record, version + 1, life, now)?);
        }
        // Another node was first, or it was lost.
        self.load(room).await
    }

    /// Changes a record that is no tombstone, wherever it is. `change` gets how long the room lives
    /// yet, and says how long it will.
    async fn change(
        &self,
        room: &RoomId,
        change: impl Fn(&mut Record, Duration) -> Result<Duration, Refused>,
    ) -> Result<(), Failure> {
        for _ in 0..CONTENTION_MAX {
            let Some(stored) = self.ask(|| self.bus.load(room)).await? else {
                self.put_back(room).await?;
                if self.records.view(room).is_none() {
                    return Err(Refused::Unknown.into());
                }
                continue;
            };
            let mut record = read(&stored)?;
            if record.closed {
                self.install(room, &record, stored.version, record.life(stored.left))?;
                return Err(Refused::Closed.into());
            }
            let before = record.life(stored.left);
            let life = change(&mut record, before)?;
            let time = record.time(life, self.ends_idle);
            let bytes = record.encode();
            if self.bus.replace(room, stored.version, &bytes, Some(time.max(A_MOMENT))).await? {
                return self.install(room, &record, stored.version + 1, life);
            }
        }
        Err(Failure::Down)
    }

    /// Takes over what all nodes know. A tombstone of this node is not forgotten for it: then the
    /// room was lost and made anew by somebody who did not know.
    async fn take_over(&self, room: &RoomId, stored: &Stored) -> Result<(), Failure> {
        let record = read(stored)?;
        let was_closed = self.records.view(room).is_some_and(|known| known.closed);
        if was_closed && !record.closed {
            let close = |record: &mut Record, life| {
                record.closed = true;
                Ok(life)
            };
            return match Box::pin(self.change(room, close)).await {
                Err(Failure::Refused(Refused::Closed)) => Ok(()),
                other => other,
            };
        }
        self.install(room, &record, stored.version, record.life(stored.left))
    }

    /// Puts back what is known here and missing there, if that matters, and forgets it otherwise.
    async fn put_back(&self, room: &RoomId) -> Result<(), Failure> {
        let Some(Known { mut record, life, occupied, .. }) =
            self.records.known(room, clock::now()).filter(|known| !known.life.is_zero())
        else {
            return Ok(());
        };
        if !(occupied || record.locked || record.closed) {
            self.records.forget(room);
            return Ok(());
        }
        let time = record.time(life, self.ends_idle);
        let bytes = record.encode();
        let (stored, _) = self.ask(|| self.bus.create(room, &bytes, time)).await?;
        Box::pin(self.take_over(room, &stored)).await
    }

    fn install(
        &self,
        room: &RoomId,
        record: &Record,
        version: u64,
        life: Duration,
    ) -> Result<(), Failure> {
        Ok(self.records.install(room, record, version, life, clock::now())?)
    }

    async fn announce(&self, room: &RoomId, entry: &Entry<'_>) -> Result<(), Failure> {
        // It is refused only where somebody should leave.
        let _ = self.ask(|| self.bus.announce(room, batch(entry))).await?;
        Ok(())
    }

    /// Asks what may be asked twice, again if the link breaks under it.
    async fn ask<T, F>(&self, question: impl Fn() -> F) -> Result<T, Down>
    where
        F: Future<Output = Result<T, Down>>,
    {
        for _ in 0..self.retries {
            if let Ok(answer) = question().await {
                return Ok(answer);
            }
            self.metrics.add(Count::BusRetried, 1);
            self.up_again().await;
        }
        question().await
    }

    /// Waits until the bus is up, for as long as an answer may take.
    async fn up_again(&self) {
        let up = async {
            while !self.bus.is_up() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(self.timeout, up).await;
    }
}

/// What is stored, unless a later version of the relay wrote it: then this one decides nothing.
fn read(stored: &Stored) -> Result<Record, Failure> {
    Record::decode(&stored.value).map_err(|_| Failure::Down)
}

/// One entry as a batch of its own.
fn batch(entry: &Entry<'_>) -> Batch {
    let mut entries = Vec::new();
    entry.put(&mut entries).expect("no entry without a payload is too long");
    Batch { entries, numbers: u32::from(entry.takes_number()), ..Batch::default() }
}

/// How often a record that others change at the same time is looked up again.
const CONTENTION_MAX: u32 = 16;

/// A room whose life is over is kept for this long, since nothing can be kept for no time.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Rooms that one call of [`Shared::refresh`] takes care of, and how many at the same time.
const REFRESHED_AT_ONCE_MAX: usize = 4096;
const REFRESHES_UNDER_WAY: usize = 64;

/// How often to look whether the bus is up, while somebody waits for it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
