//! One probe, from a name to a message: what two members of a room go through.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::member::{Heard, Member};
use super::random;
use super::refused::by_close;
use super::room::{Desk, Tickets};
use super::stage::{Failure, Journal, Stage};
use crate::cli::remote::{Caller, Trust, Url, connect, dial, resolve, secure};
use crate::clock;
use crate::core::limit::{Instant, UnixSeconds};
use crate::core::wire::{ClientHead, Flags, RelayHead, Target};

/// What to probe, and how.
pub(super) struct Plan<'a> {
    pub(super) url: Url,
    /// Whose certificates are believed.
    pub(super) trust: Option<Trust>,
    /// Connect members to `url` also where the relay names another address.
    pub(super) direct: bool,
    /// The longest that all of it may take, but for tidying up.
    pub(super) limit: Duration,
    /// The configuration file of the command line, for a secret.
    pub(super) file: Option<&'a Path>,
}

/// What came of a probe.
pub(super) struct Outcome {
    pub(super) journal: Journal,
    /// All of it, in time.
    pub(super) took: Duration,
    /// The earliest end of a certificate on the way.
    pub(super) not_after: Option<UnixSeconds>,
    /// Who gave the tokens, once they are there.
    pub(super) by: Option<&'static str>,
    /// Where members are sent, if that is not where the relay was asked.
    pub(super) elsewhere: Option<String>,
    /// Payload bytes of the message that arrived.
    pub(super) payload_bytes: usize,
    /// Whether the room was closed; if not, it ends by itself.
    pub(super) closed: bool,
    pub(super) failure: Option<Failure>,
}

impl Plan<'_> {
    /// Probes once. Ends by the limit and [`TIDY`], whatever the other side does.
    pub(super) async fn run(&self) -> Outcome {
        let mut outcome = Outcome {
            journal: Journal::new(),
            took: Duration::ZERO,
            not_after: None,
            by: None,
            elsewhere: None,
            payload_bytes: 0,
            closed: false,
            failure: None,
        };
        let begun = clock::now();
        let travelled = tokio::time::timeout(self.limit, self.travel(&mut outcome)).await;
        outcome.took = clock::now().since(begun);
        match travelled {
            Ok(Ok((first, second))) => {
                let tidied = tokio::time::timeout(TIDY, tidy_up(first, second)).await;
                outcome.closed = matches!(tidied, Ok(Ok(())));
            }
            Ok(Err(failure)) => outcome.failure = Some(failure),
            Err(_) => {
                outcome.failure = Some(Failure::silent(outcome.journal.now(), self.limit));
            }
        }
        outcome
    }

    async fn travel(&self, outcome: &mut Outcome) -> Result<(Member, Member), Failure> {
        let tickets = self.tickets(outcome).await?;
        outcome.by = Some(tickets.by);
        let ws = self.members_url(&tickets)?;
        if ws != self.url {
            outcome.elsewhere = Some(ws.to_ws());
        }
        let (mut first, welcome) = self.join(&ws, &tickets.first, outcome).await?;
        let (mut second, _) = self.join(&ws, &tickets.second, outcome).await?;

        let payload = payload(&welcome)?;
        let mut frame =
            ClientHead { target: Target::Room, flags: Flags::ACK, reference: REFERENCE }.encode();
        frame.extend_from_slice(&payload);
        outcome.journal.enter(Stage::Message);
        first.data(&frame).await.map_err(unheard)?;
        let (moment, ()) = tokio::try_join!(arrival(&mut second, &payload), ack(&mut first))?;
        outcome.journal.done_at(moment);
        outcome.payload_bytes = payload.len();
        Ok((first, second))
    }

    /// Goes to the relay step by step, and asks for tokens.
    async fn tickets(&self, outcome: &mut Outcome) -> Result<Tickets, Failure> {
        let (url, trust) = (&self.url, self.trust.as_ref());
        let journal = &mut outcome.journal;
        let addresses = resolve(url).await?;
        journal.done();
        journal.enter(Stage::Connect);
        let stream = connect(&addresses, self.limit).await?;
        journal.done();
        if url.secure {
            journal.enter(Stage::Tls);
        }
        let link = secure(url, stream, trust).await?;
        if url.secure {
            journal.done();
        }
        outcome.not_after = link.not_after;
        journal.enter(Stage::Token);
        let caller = Caller::new(link).await;
        let caller =
            caller.map_err(|what| Failure::new(Stage::Token, what, super::refused::NO_RELAY))?;
        let mut desk = Desk { url, trust, caller, patience: self.limit };
        let tickets = desk.tickets(self.file).await?;
        journal.done();
        Ok(tickets)
    }

    /// Where members connect: where the relay says, as the SDK does.
    fn members_url(&self, tickets: &Tickets) -> Result<Url, Failure> {
        let told = tickets.ws.as_deref().filter(|_| !self.direct);
        let Some(told) = told else { return Ok(self.url.clone()) };
        let next = "PUBLIC_URL of the relay should be its address as members write it";
        let url = Url::parse(told).map_err(|_| {
            Failure::new(Stage::Token, "the relay sends members to no usable address", next)
        })?;
        if url.secure && self.trust.is_none() {
            let what = "the relay sends members to wss://, and was asked over http://";
            return Err(Failure::new(
                Stage::Token,
                what,
                "probe the https:// address, or --direct",
            ));
        }
        Ok(url)
    }

    /// Joins over a connection of its own, and returns the welcome.
    async fn join(
        &self,
        url: &Url,
        token: &str,
        outcome: &mut Outcome,
    ) -> Result<(Member, Value), Failure> {
        outcome.journal.enter(Stage::Handshake);
        let link = dial(url, self.trust.as_ref(), self.limit).await?;
        outcome.not_after = outcome.not_after.into_iter().chain(link.not_after).min();
        let mut member = Member::upgrade(link, url, token).await?;
        outcome.journal.done();
        outcome.journal.enter(Stage::Join);
        let failed = |what: String| Failure::new(Stage::Join, what, super::refused::NO_RELAY);
        let welcome = match member.next().await.map_err(failed)? {
            Heard::Control(welcome) if is(&welcome, "welcome") => welcome,
            Heard::Closed(code) => return Err(by_close(Stage::Join, code)),
            _ => return Err(failed("something else came before the welcome".to_owned())),
        };
        outcome.journal.done();
        Ok((member, welcome))
    }
}

/// When the other member heard the payload, as it was sent.
async fn arrival(member: &mut Member, payload: &[u8]) -> Result<Instant, Failure> {
    loop {
        match member.next().await.map_err(unheard)? {
            Heard::Data(frame) => {
                let moment = clock::now();
                let arrived = RelayHead::parse(&frame);
                if arrived.is_some_and(|(head, came)| !head.direct && came == payload) {
                    return Ok(moment);
                }
                let next = "something between the members changes what they say: report a bug";
                let what = "what arrived is not what was sent";
                return Err(Failure::new(Stage::Message, what, next));
            }
            Heard::Closed(code) => return Err(by_close(Stage::Message, code)),
            Heard::Control(_) => {}
        }
    }
}

/// Waits until the relay has accepted the message.
async fn ack(member: &mut Member) -> Result<(), Failure> {
    loop {
        match member.next().await.map_err(unheard)? {
            Heard::Control(control) if is(&control, "ack") => return Ok(()),
            Heard::Control(control) if is(&control, "error") => {
                let (what, next) = match control.get("code").and_then(Value::as_str) {
                    Some("unavailable") => (
                        "refused as unavailable",
                        "the node is cut off from its bus: look at the bus in /health",
                    ),
                    Some("rate_limited") => {
                        ("refused as rate_limited", "a single message is over the relay's limits")
                    }
                    _ => ("refused", "look at the relay's log"),
                };
                return Err(Failure::new(Stage::Message, what, next));
            }
            Heard::Closed(code) => return Err(by_close(Stage::Message, code)),
            Heard::Control(_) | Heard::Data(_) => {}
        }
    }
}

/// The first member leaves, and the second, who owns the room, closes it.
async fn tidy_up(mut first: Member, mut second: Member) -> Result<(), String> {
    first.control(r#"{"type":"leave"}"#).await?;
    while !matches!(first.next().await?, Heard::Closed(_)) {}
    second.control(r#"{"type":"owner","op":"close"}"#).await?;
    while !matches!(second.next().await?, Heard::Closed(_)) {}
    Ok(())
}

/// Random bytes in the smallest size that the relay announces.
fn payload(welcome: &Value) -> Result<Vec<u8>, Failure> {
    let sizes = welcome.get("padding").and_then(Value::as_array);
    let smallest = sizes.and_then(|sizes| sizes.iter().filter_map(Value::as_u64).min());
    let most = welcome.pointer("/limits/payload_bytes").and_then(Value::as_u64);
    let len = smallest.unwrap_or(PAYLOAD_BYTES).min(most.unwrap_or(PAYLOAD_BYTES));
    let len = usize::try_from(len).unwrap_or(0).clamp(1, PAYLOAD_BYTES_MAX);
    let mut payload = vec![0; len];
    let seed = random::<32>()?;
    for (byte, random) in payload.iter_mut().zip(seed.iter().cycle()) {
        *byte = *random;
    }
    Ok(payload)
}

fn unheard(what: String) -> Failure {
    let next = "the connection of a member ended in the middle: look at the proxy's log";
    Failure::new(Stage::Message, what, next)
}

fn is(control: &Value, kind: &str) -> bool {
    control.get("type").and_then(Value::as_str) == Some(kind)
}

/// The client's own number of its only message.
const REFERENCE: u16 = 1;
/// The size of the payload where the relay announces none.
const PAYLOAD_BYTES: u64 = 256;
/// The largest size of it, whatever the relay announces.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// Longest wait for leaving and closing the room, which no member would wait for.
const TIDY: Duration = Duration::from_secs(2);
