//! Reaching a server: addresses, both connections, and what the server is called in this life of it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo as _, ProtocolVersion, PushInfo, RedisError, RedisResult,
};

use super::Commands;
use crate::bus::BusSettings;
use crate::bus::scripts::{Scripts, unexpected};

/// Where a link's server is found.
pub(in crate::bus) enum Server {
    /// At one address.
    Fixed(ConnectionInfo),
    /// Where the sentinels say.
    Named {
        /// The sentinels' addresses.
        sentinels: Vec<ConnectionInfo>,
        /// The master's name.
        master: String,
        /// How to log in; its address does not matter.
        login: ConnectionInfo,
    },
}

/// A server that was reached.
pub(super) struct Reached {
    pub(super) commands: Commands,
    pub(super) subscriber: MultiplexedConnection,
    /// Different after every restart and every promotion, also of a replica that has all data.
    pub(super) life: Vec<u8>,
}

/// Commands that may wait in a connection's queue before the next one has to wait to get in.
const QUEUE: usize = 1024;
/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;

impl Server {
    /// Connects twice and loads the scripts. `push` is called in the subscriber's task.
    pub(super) async fn reach(
        &self,
        settings: &BusSettings,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<Reached> {
        let info = match self {
            Self::Fixed(info) => info.clone(),
            Self::Named { sentinels, master, login } => {
                ask_sentinels(settings, sentinels, master, login).await?
            }
        };
        let push = Arc::new(push);
        let also = Arc::clone(&push);
        let hang_up = move |info: PushInfo| {
            // Of this connection only its end matters.
            if info.kind == redis::PushKind::Disconnection {
                also(info);
            }
            Ok::<(), redis::aio::SendError>(())
        };
        let forward = move |info: PushInfo| {
            push(info);
            Ok::<(), redis::aio::SendError>(())
        };
        let config = config(settings);
        let mut commands = connect(&info, &config.clone().set_push_sender(hang_up)).await?;
        let role: redis::Value = Cmd::new().arg("ROLE").query_async(&mut commands).await?;
        if !is_master(&role) {
            return Err((ErrorKind::Client, "not a master").into());
        }
        let scripts = Arc::new(Scripts::load(&mut commands).await?);
        let life = life(&mut commands).await?;
        let subscriber = connect(&info, &config.set_push_sender(forward)).await?;
        Ok(Reached { commands: Commands { connection: commands, scripts }, subscriber, life })
    }
}

/// What is wrong with a server, for the log: neither its address nor what it said.
pub(super) fn fault(error: &RedisError) -> &'static str {
    match error.kind() {
        ErrorKind::AuthenticationFailed => "it refuses the login",
        _ if error.is_connection_refusal() => "nobody listens there",
        _ if error.is_timeout() => "it does not answer in time",
        _ if error.is_io_error() => "no connection; over TLS, its certificate may not be trusted",
        _ => "it is no master of Redis 7 or later that allows what is needed",
    }
}

/// Reads an address; the connection is made ready for short messages and lost peers.
pub(in crate::bus) fn parse(url: &str, timeout: Duration) -> RedisResult<ConnectionInfo> {
    Ok(prepare(url.into_connection_info()?, timeout))
}

fn prepare(info: ConnectionInfo, timeout: Duration) -> ConnectionInfo {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(1))
        .with_retries(3);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(timeout.max(Duration::from_secs(1)) * 2);
    let greeting = info.redis_settings().clone();
    // No name and version of the client: the server need not know them.
    let greeting = greeting.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    info.set_tcp_settings(tcp).set_redis_settings(greeting)
}

/// A single command on a connection of its own, for whoever is asked rarely.
pub(in crate::bus) async fn ask_once(
    info: &ConnectionInfo,
    settings: &BusSettings,
    cmd: &Cmd,
) -> RedisResult<redis::Value> {
    let mut connection = connect(info, &config(settings)).await?;
    cmd.query_async(&mut connection).await
}

fn config(settings: &BusSettings) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.timeout))
        .set_pipeline_buffer_size(QUEUE)
        .set_write_backpressure_boundary(WRITE_BYTES)
}

async fn connect(
    info: &ConnectionInfo,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    Client::open(info.clone())?.get_multiplexed_async_connection_with_config(config).await
}

async fn ask_sentinels(
    settings: &BusSettings,
    sentinels: &[ConnectionInfo],
    master: &str,
    login: &ConnectionInfo,
) -> RedisResult<ConnectionInfo> {
    let mut cmd = Cmd::new();
    cmd.arg("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let mut last = unexpected();
    for sentinel in sentinels {
        let answer = ask_once(sentinel, settings, &cmd).await;
        match answer.and_then(|answer| Ok(redis::from_redis_value::<(String, u16)>(answer)?)) {
            Ok((host, port)) => return Ok(login.clone().set_addr(moved(login.addr(), host, port))),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Another address, reached in the same way.
pub(in crate::bus) fn moved(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    }
}

fn is_master(role: &redis::Value) -> bool {
    let redis::Value::Array(parts) = role else { return false };
    match parts.first() {
        Some(redis::Value::BulkString(name)) => name == b"master",
        Some(redis::Value::SimpleString(name)) => name == "master",
        _ => false,
    }
}

/// The run's and the replication's names, of which promotion changes one and a restart both.
async fn life(connection: &mut MultiplexedConnection) -> RedisResult<Vec<u8>> {
    let mut life = Vec::new();
    for (section, key) in [("server", "run_id:"), ("replication", "master_replid:")] {
        let text: String = Cmd::new().arg("INFO").arg(section).query_async(connection).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(key));
        let value = value.ok_or_else(unexpected)?.trim();
        // 64 random bits of each will do, and keep the order's hash in Redis' compact form, which
        // has no value of more than 64 bytes.
        life.extend_from_slice(value.as_bytes().get(..16).ok_or_else(unexpected)?);
    }
    Ok(life)
}
