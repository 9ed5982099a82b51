//! The scripts that Redis runs, one atomic step each, and how they are called.
//!
//! They are loaded when a link comes up. A server that has forgotten them is sent the text.

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};

/// One script.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Publish,
    Attach,
    Probe,
    Create,
    Replace,
}

impl Script {
    const ALL: [Self; 5] = [Self::Publish, Self::Attach, Self::Probe, Self::Create, Self::Replace];

    const fn text(self) -> &'static str {
        match self {
            Self::Publish => include_str!("scripts/publish.lua"),
            Self::Attach => include_str!("scripts/attach.lua"),
            Self::Probe => include_str!("scripts/probe.lua"),
            Self::Create => include_str!("scripts/create.lua"),
            Self::Replace => include_str!("scripts/replace.lua"),
        }
    }
}

/// The scripts of one server, by the names that it gave them.
pub(super) struct Scripts([String; Script::ALL.len()]);

impl Scripts {
    /// Loads all of them.
    pub(super) async fn load(connection: &mut MultiplexedConnection) -> RedisResult<Self> {
        let names: Vec<String> = Self::loading().query_async(connection).await?;
        let names = names.try_into();
        names.map(Self).map_err(|_| unexpected())
    }

    /// The commands that load all of them.
    pub(super) fn loading() -> Pipeline {
        let mut pipe = Pipeline::new();
        for script in Script::ALL {
            pipe.cmd("SCRIPT").arg("LOAD").arg(script.text());
        }
        pipe
    }

    /// The beginning of a call: the script and its keys.
    pub(super) fn call(&self, script: Script, by_text: bool, keys: &[&str]) -> Cmd {
        let mut cmd = Cmd::new();
        match self.0.get(script as usize).filter(|_| !by_text) {
            Some(name) => cmd.arg("EVALSHA").arg(name),
            None => cmd.arg("EVAL").arg(script.text()),
        };
        cmd.arg(keys.len()).arg(keys);
        cmd
    }
}

/// Sends a pipeline and waits for its answers, one per command, errors among them.
pub(super) async fn send(
    mut connection: MultiplexedConnection,
    pipe: Pipeline,
) -> RedisResult<Vec<Value>> {
    let expected = pipe.len();
    let answers = connection.req_packed_commands(&pipe, 0, expected).await?;
    if answers.len() == expected { Ok(answers) } else { Err(unexpected()) }
}

/// Whether the server does not know a script (any more).
pub(super) fn is_forgotten(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// An integer, in any of the ways in which Redis says one.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        Value::Boolean(yes) => Some(i64::from(*yes)),
        _ => None,
    }
}

/// The error for an answer that no Redis gives.
pub(super) fn unexpected() -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, "an answer of another kind"))
}
