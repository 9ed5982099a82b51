//! What nodes share of a room while nobody needs to be in it: its owner, options, lock and end.
//!
//! ```text
//! 0x01  flags  padding  owner 16  ttl_s u32  idle_s u32  members_max u32  spare_ms u64
//! ```
//!
//! Who keeps it gives it a time; when that is over, the room is forgotten. A room has two such times,
//! the rest of its life and, while it is empty, its idle time. The shorter one is given, and the
//! record says by how much the life is longer (`spare`): so no node needs to know another one's clock.
//! Both change together or not at all. One meaning has one spelling.

use std::time::Duration;

use super::admission::{OutOfRange, OwnerHash, PaddingPolicy, RoomOptions, WantedOptions};

/// A room's record, as nodes tell it each other.
#[derive(Clone, Copy)]
pub struct Record {
    /// Absent where an application's backend admits, until a certificate is shown.
    pub owner: Option<OwnerHash>,
    /// The room's options.
    pub options: RoomOptions,
    /// Whether only owners may come in.
    pub locked: bool,
    /// Whether this is a tombstone.
    pub closed: bool,
    /// By how much the room's life is longer than the time that the record is kept for, to the
    /// millisecond.
    pub spare: Duration,
}

/// The bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record")]
pub struct Malformed;

impl Record {
    /// Length of the binary form, in bytes.
    pub const LEN: usize = 39;

    /// The record of a room that is made now; its time is [`Record::time`] of its `ttl_s`.
    pub const fn new(owner: Option<OwnerHash>, options: RoomOptions) -> Self {
        Self { owner, options, locked: false, closed: false, spare: Duration::ZERO }
    }

    /// The binary form.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let flag = |on, bit| if on { bit } else { 0 };
        let flags = flag(self.locked, LOCKED)
            | flag(self.closed, CLOSED)
            | flag(self.owner.is_some(), OWNED);
        let padding = match self.options.padding {
            PaddingPolicy::Off => 0,
            PaddingPolicy::Warn => 1,
            PaddingPolicy::Enforce => 2,
        };
        let spare = u64::try_from(self.spare.as_millis()).unwrap_or(u64::MAX);
        let mut bytes = [0; Self::LEN];
        let mut rest = bytes.as_mut_slice();
        let mut put = |field: &[u8]| {
            let (here, behind) = std::mem::take(&mut rest).split_at_mut(field.len());
            here.copy_from_slice(field);
            rest = behind;
        };
        put(&[VERSION, flags, padding]);
        put(self.owner.as_ref().map_or(&[0; OwnerHash::LEN], |owner| owner.as_bytes()));
        for number in [self.options.ttl_s, self.options.idle_s, self.options.members_max] {
            put(&number.to_be_bytes());
        }
        put(&spare.to_be_bytes());
        bytes
    }

    /// Reads the binary form, strictly.
    ///
    /// # Errors
    ///
    /// When [`Record::encode`] gives these bytes for no record of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        let [version, flags, padding] = take(&mut rest)?;
        let owner: [u8; OwnerHash::LEN] = take(&mut rest)?;
        let mut number = || take(&mut rest).map(u32::from_be_bytes);
        let (ttl_s, idle_s, members_max) = (number()?, number()?, number()?);
        let spare = Duration::from_millis(u64::from_be_bytes(take(&mut rest)?));
        let padding = match padding {
            0 => PaddingPolicy::Off,
            1 => PaddingPolicy::Warn,
            2 => PaddingPolicy::Enforce,
            _ => return Err(Malformed),
        };
        let has_owner = flags & OWNED != 0;
        let known = flags & !(LOCKED | CLOSED | OWNED) == 0;
        if version != VERSION || !known || !rest.is_empty() || (!has_owner && owner != [0; 16]) {
            return Err(Malformed);
        }
        Ok(Self {
            owner: has_owner.then(|| OwnerHash::from_bytes(owner)),
            options: RoomOptions { ttl_s, idle_s, members_max, padding },
            locked: flags & LOCKED != 0,
            closed: flags & CLOSED != 0,
            spare,
        })
    }

    /// How long the room lives yet, when the record is kept for `left`.
    pub const fn life(&self, left: Duration) -> Duration {
        left.saturating_add(self.spare)
    }

    /// How long to keep the record of a room that lives for `life` yet, and notes what that leaves.
    ///
    /// Only a room that may be forgotten when it is empty is kept for less than its life; and never
    /// for less than [`KEPT_MIN`], so that keeping rooms with members costs little.
    pub fn time(&mut self, life: Duration, ends_idle: bool) -> Duration {
        let idle = Duration::from_secs(u64::from(self.options.idle_s)).max(KEPT_MIN);
        let stays = self.locked || self.closed || !ends_idle;
        let time = if stays { life } else { life.min(idle) };
        self.spare = life.saturating_sub(time);
        time
    }

    /// Changes the options, and says how long the room lives now that lived for `life` before: its
    /// time to live counts from when it was made.
    ///
    /// # Errors
    ///
    /// When an option is out of range; then nothing was changed.
    pub fn set_options(
        &mut self,
        wanted: &WantedOptions,
        ceilings: &RoomOptions,
        life: Duration,
    ) -> Result<Duration, OutOfRange> {
        let seconds = |options: &RoomOptions| Duration::from_secs(u64::from(options.ttl_s));
        let before = seconds(&self.options);
        self.options = self.options.changed(wanted, ceilings)?;
        Ok(life.saturating_add(seconds(&self.options)).saturating_sub(before))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (field, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    *bytes = rest;
    Ok(*field)
}

/// The shortest time that a record is kept for, unless its room's life ends before.
pub const KEPT_MIN: Duration = Duration::from_secs(60);

const VERSION: u8 = 1;
const LOCKED: u8 = 1;
const CLOSED: u8 = 2;
const OWNED: u8 = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPTIONS: RoomOptions =
        RoomOptions { ttl_s: 1000, idle_s: 100, members_max: 8, padding: PaddingPolicy::Off };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_record_has_one_spelling() {
        let owner = OwnerHash::from_bytes([7; 16]);
        let options = RoomOptions {
            ttl_s: 0x0102_0304,
            idle_s: 0x0506_0708,
            members_max: 0x090a_0b0c,
            padding: PaddingPolicy::Enforce,
        };
        let mut record = Record::new(Some(owner), options);
        (record.locked, record.closed) = (true, true);
        record.spare = Duration::from_millis(0x0d0e);
        let mut expected = vec![1, 7, 2];
        expected.extend([7; 16]);
        expected.extend(1..=12);
        expected.extend([0, 0, 0, 0, 0, 0, 0x0d, 0x0e]);
        assert_eq!(record.encode().as_slice(), expected);
        for (at, wrong) in [(0, 2), (0, 0), (1, 8), (1, 3), (2, 3)] {
            let mut bytes = expected.clone();
            bytes[at] = wrong;
            assert_eq!(Record::decode(&bytes).err(), Some(Malformed), "byte {at} is {wrong}");
        }
        expected.push(0);
        assert_eq!(Record::decode(&expected).err(), Some(Malformed), "longer");
    }

    #[test]
    fn an_empty_room_is_kept_for_its_idle_time_and_a_locked_or_closed_one_for_its_life() {
        for (locked, closed, ends_idle, kept) in [
            (false, false, true, 100),
            (true, false, true, 900),
            (false, true, true, 900),
            (false, false, false, 900),
        ] {
            let mut record = Record::new(None, OPTIONS);
            (record.locked, record.closed) = (locked, closed);
            let time = record.time(seconds(900), ends_idle);
            assert_eq!((time, record.life(time)), (seconds(kept), seconds(900)));
            assert_eq!(record.time(seconds(50), ends_idle), seconds(50), "never above its life");
        }
        let mut record = Record::new(None, RoomOptions { idle_s: 1, ..OPTIONS });
        assert_eq!(record.time(seconds(900), true), KEPT_MIN);
    }

    #[test]
    fn the_time_to_live_counts_from_when_the_room_was_made() {
        let mut record = Record::new(None, OPTIONS);
        let mut set = |ttl_s, life| {
            let wanted = WantedOptions { ttl_s: Some(ttl_s), ..WantedOptions::default() };
            record.set_options(&wanted, &OPTIONS, seconds(life))
        };
        assert_eq!(set(600, 900), Ok(seconds(500)));
        assert_eq!(set(1000, 500), Ok(seconds(900)));
        assert_eq!(set(100, 500), Ok(seconds(0)), "it is older than that");
        assert_eq!(set(1001, 500), Err(OutOfRange));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            owner in prop::option::of(any::<[u8; 16]>()),
            numbers in any::<(u32, u32, u32, u64)>(),
            policy in 0..3_usize,
            flags in any::<(bool, bool)>(),
        ) {
            let (ttl_s, idle_s, members_max, spare) = numbers;
            let padding = [PaddingPolicy::Off, PaddingPolicy::Warn, PaddingPolicy::Enforce][policy];
            let options = RoomOptions { ttl_s, idle_s, members_max, padding };
            let mut record = Record::new(owner.map(OwnerHash::from_bytes), options);
            (record.locked, record.closed) = flags;
            record.spare = Duration::from_millis(spare);
            let again = Record::decode(&record.encode()).unwrap();
            prop_assert_eq!(again.owner.map(|owner| *owner.as_bytes()), owner);
            prop_assert_eq!(again.options, options);
            prop_assert_eq!((again.locked, again.closed), flags);
            prop_assert_eq!(again.spare, record.spare);
        }

        #[test]
        fn what_is_decoded_is_encoded_to_the_same_bytes(
            mut bytes in prop::collection::vec(any::<u8>(), 0..48),
            head in prop::option::of((0..3_u8, 0..9_u8, 0..4_u8)),
        ) {
            if let Some((version, flags, padding)) = head {
                bytes.resize(Record::LEN, 0);
                bytes[..3].copy_from_slice(&[version, flags, padding]);
            }
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode().to_vec(), bytes);
            }
        }

        #[test]
        fn no_time_is_lost_between_life_and_keeping(life_ms in any::<u32>(), idle_s in 0..5000_u32) {
            let mut record = Record::new(None, RoomOptions { idle_s, ..OPTIONS });
            let life = Duration::from_millis(u64::from(life_ms));
            let time = record.time(life, true);
            prop_assert_eq!(record.life(time), life);
            prop_assert!(time <= life);
        }
    }
}
