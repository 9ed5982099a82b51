//! Two relays on the same cores: that of the healthy rooms, and the one next door.

use std::path::Path;
use std::process::Command;

use lethewire_bench::Fault;
use lethewire_bench::process::{self, Server};

use crate::healthy::ROOMS;

/// The relays. The limits are those of `config/default.toml`, but for some of those per address.
pub(crate) struct Relays {
    /// The healthy rooms'.
    pub(crate) own: Server,
    /// Nobody's but the attackers'.
    pub(crate) next_door: Server,
}

impl Relays {
    pub(crate) fn start(program: &Path, cores: &str, one_address: bool) -> Result<Self, Fault> {
        let start = |name, members| {
            let port = process::free_port()?;
            let log = std::env::temp_dir().join(format!("lethewire-floods-{name}.log"));
            let command = command(program, port, one_address.then_some(members));
            Server::start(&command, cores, port, &log)
        };
        Ok(Self { own: start("own", 2 * ROOMS)?, next_door: start("next-door", 0)? })
    }
}

/// Connections that one address may have, by default.
const CONNECTIONS: u32 = 64;

/// The healthy members, so many of them, come from the attackers' address, if there is only one: so
/// it may have as many more connections as they are, and make their rooms. If there is not, none of
/// the limits per address is on.
fn command(program: &Path, port: u16, members: Option<u32>) -> Command {
    let mut command = Command::new(program);
    command.env("PORT", port.to_string()).env("OPS_LISTEN", "").env("LOG_LEVEL", "error");
    command.env("FEATURE_GRACEFUL_SHUTDOWN", "false");
    match members {
        Some(members) => command
            .env("MAX_CONNS_PER_IP", (CONNECTIONS + members).to_string())
            .env("MAX_ROOM_CREATES_PER_IP_PER_MIN", "50")
            .env("MAX_TOKENS_PER_IP_PER_MIN", "300")
            .env("SLOW_DOWN_MAX_MS", "0"),
        None => command.env("FEATURE_IP_TRACKING", "false"),
    };
    command
}
