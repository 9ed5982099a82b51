//! What all nodes must agree on outside of any order: records of rooms, and what was used once.
//!
//! Every answer comes from the server. Who cannot ask is told so, and lets nobody in.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};

use super::link::Commands;
use super::scripts::{Script, integer, is_forgotten, send};
use super::topic::Stored;
use super::{Bus, Down};
use crate::core::id::RoomId;

impl Bus {
    /// The record of a room.
    ///
    /// Cancelled, nothing has changed.
    pub async fn load(&self, room: &RoomId) -> Result<Option<Stored>, Down> {
        let (partition, key) = self.names.record(room);
        let mut pipe = Pipeline::new();
        pipe.cmd("HMGET").arg(&key).arg("v").arg("k");
        pipe.cmd("PTTL").arg(&key);
        let answers = self.ask_server(partition, pipe).await?;
        let (Some(Value::Array(fields)), Some(left)) = (answers.first(), answers.get(1)) else {
            return Err(Down);
        };
        let (Some(value), Some(version)) = (fields.first(), fields.get(1)) else {
            return Err(Down);
        };
        if *value == Value::Nil {
            return Ok(None);
        }
        Ok(self.stored(&key, value, version, left))
    }

    /// Makes a record if there is none. Returns what is there then, and whether it is this one.
    ///
    /// Cancelled, it may have happened.
    pub async fn create(
        &self,
        room: &RoomId,
        value: &[u8],
        life: Duration,
    ) -> Result<(Stored, bool), Down> {
        let (partition, key) = self.names.record(room);
        let sealed = self.voice.seal(self.voice.count(), key.as_bytes(), value);
        let answer = self
            .call(partition, Script::Create, &key, |cmd| {
                cmd.arg(&sealed).arg(millis(life));
            })
            .await?;
        let Value::Array(parts) = answer else { return Err(Down) };
        let [value, version, left, is_new] = parts.as_slice() else { return Err(Down) };
        let is_new = integer(is_new) == Some(1);
        self.stored(&key, value, version, left).map(|stored| (stored, is_new)).ok_or(Down)
    }

    /// Replaces the record if it still has this version; `life` of `None` leaves its end as it is.
    /// False if there is another version or no record.
    ///
    /// Cancelled, it may have happened.
    pub async fn replace(
        &self,
        room: &RoomId,
        version: u64,
        value: &[u8],
        life: Option<Duration>,
    ) -> Result<bool, Down> {
        let (partition, key) = self.names.record(room);
        let sealed = self.voice.seal(self.voice.count(), key.as_bytes(), value);
        let life = life.map_or_else(String::new, |life| millis(life).to_string());
        let answer = self
            .call(partition, Script::Replace, &key, |cmd| {
                cmd.arg(version).arg(&sealed).arg(&life);
            })
            .await?;
        integer(&answer).map(|done| done == 1).ok_or(Down)
    }

    /// Gives the record at least this much time; false if there is none.
    ///
    /// Cancelled, it may have happened.
    pub async fn extend(&self, room: &RoomId, life: Duration) -> Result<bool, Down> {
        let (partition, key) = self.names.record(room);
        let mut pipe = Pipeline::new();
        pipe.cmd("PEXPIRE").arg(&key).arg(millis(life)).arg("GT");
        pipe.cmd("EXISTS").arg(&key);
        let answers = self.ask_server(partition, pipe).await?;
        answers.get(1).and_then(integer).map(|count| count == 1).ok_or(Down)
    }

    /// Uses up a name for `life`: true for the first that does, on all nodes.
    ///
    /// Cancelled, it may have happened.
    pub async fn burn(&self, name: &[u8], life: Duration) -> Result<bool, Down> {
        let (partition, key) = self.names.used(name);
        let mut pipe = Pipeline::new();
        pipe.cmd("SET").arg(&key).arg(1).arg("NX").arg("PX").arg(millis(life));
        match self.ask_server(partition, pipe).await?.first() {
            Some(Value::Okay) => Ok(true),
            Some(Value::Nil) => Ok(false),
            _ => Err(Down),
        }
    }

    fn stored(&self, key: &str, value: &Value, version: &Value, left: &Value) -> Option<Stored> {
        let Value::BulkString(sealed) = value else { return None };
        let left = u64::try_from(integer(left)?).ok()?;
        let version = u64::try_from(integer(version)?).ok()?;
        let opened = self.sealer.open(key.as_bytes(), sealed.clone(), 0)?;
        Some(Stored { value: opened.content, left: Duration::from_millis(left), version })
    }

    /// Calls a script with one key.
    async fn call(
        &self,
        partition: usize,
        script: Script,
        key: &str,
        fill: impl Fn(&mut Cmd),
    ) -> Result<Value, Down> {
        let commands = self.commands(partition)?;
        for by_text in [false, true] {
            let mut cmd = commands.scripts.call(script, by_text, &[key]);
            fill(&mut cmd);
            let mut pipe = Pipeline::new();
            pipe.add_command(cmd);
            let answer = self.sent(commands.clone(), pipe).await?.pop().ok_or(Down)?;
            if !is_forgotten(&answer) {
                return Ok(answer);
            }
        }
        Err(Down)
    }

    async fn ask_server(&self, partition: usize, pipe: Pipeline) -> Result<Vec<Value>, Down> {
        let commands = self.commands(partition)?;
        self.sent(commands, pipe).await
    }

    async fn sent(&self, commands: Commands, pipe: Pipeline) -> Result<Vec<Value>, Down> {
        let answers = send(commands.connection, pipe).await.map_err(|_| Down)?;
        let is_error = |answer: &Value| matches!(answer, Value::ServerError(_));
        if answers.iter().any(|answer| is_error(answer) && !is_forgotten(answer)) {
            self.route.stir();
            return Err(Down);
        }
        Ok(answers)
    }

    fn commands(&self, partition: usize) -> Result<Commands, Down> {
        self.route.link(partition).ok_or(Down)?.commands()
    }
}

/// Whole milliseconds, one at least: Redis refuses a life of none.
fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX >> 12).clamp(1, u64::MAX >> 12)
}
