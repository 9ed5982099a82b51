//! Why connections end, and what each side is told about it.
//!
//! This module is the only place that knows a close code. The number's range carries the advice, so
//! that a client needs no table to behave well: 40xx stop, 41xx fresh token and one retry, 42xx
//! fresh token and retry with backoff; 1012 and 1013 come back later. The numbers are part of the
//! protocol: `docs/protocol.md` and the SDK list the same ones, and `tests/tidy.rs` compares.

use std::time::Duration;

/// Why the relay ends a connection.
///
/// The numbers below 4000 are RFC 6455 section 7.4.1 and the IANA registry; the others are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Close {
    /// The member said that it leaves, or closed first.
    Left = 1000,
    /// The page went away; said by browsers, never by the relay first.
    GoingAway = 1001,
    /// The bytes broke RFC 6455.
    Protocol = 1002,
    /// A frame type that this state of the protocol does not take.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    BadUtf8 = 1007,
    /// A message, fragment count or control frame above its size limit.
    TooLarge = 1009,
    /// A bug of the relay.
    Bug = 1011,
    /// The relay restarts or drains; reconnect after the hint.
    Restart = 1012,
    /// The relay is overloaded or cannot reach its bus; back off.
    Overload = 1013,
    /// A binary frame that is not of the protocol, or an unknown control frame.
    BadFrame = 4000,
    /// A version of the protocol that this relay does not speak.
    UnsupportedVersion = 4001,
    /// The room was closed by its owner, or its time is over.
    RoomClosed = 4002,
    /// The room takes no new members.
    RoomLocked = 4003,
    /// The owner removed this member.
    Kicked = 4004,
    /// The token does not allow what was asked.
    NotPermitted = 4006,
    /// A payload's size is not an announced bucket, in a room that insists.
    PaddingViolation = 4007,
    /// The operator has blocked this.
    Blocked = 4008,
    /// The handshake carried no token.
    TokenMissing = 4100,
    /// The token is not one that this relay accepts for a room that it has.
    TokenInvalid = 4101,
    /// The token's time is over.
    TokenExpired = 4102,
    /// The session's time, as the token set it, is over.
    SessionExpired = 4103,
    /// The token was used before.
    TokenUsed = 4104,
    /// The member reads slower than its room talks.
    SlowConsumer = 4200,
    /// The member sends faster than its limits, repeatedly.
    RateLimited = 4201,
    /// Nothing was sent for too long.
    Idle = 4202,
    /// Pings stayed without an answer.
    HeartbeatLost = 4203,
    /// The room has as many members as it takes.
    RoomFull = 4204,
    /// The order of messages was lost and could not be restored.
    OrderLost = 4205,
}

/// What a client should do after a close; the code's range says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Do not come back by itself; tell the application.
    Stop,
    /// Get a fresh token and try once more, at once.
    FreshToken,
    /// Get a fresh token and try with backoff, no earlier than the hint.
    Backoff,
}

impl Close {
    /// Every code, in numeric order.
    pub const ALL: [Self; 28] = [
        Self::Left,
        Self::GoingAway,
        Self::Protocol,
        Self::Unsupported,
        Self::BadUtf8,
        Self::TooLarge,
        Self::Bug,
        Self::Restart,
        Self::Overload,
        Self::BadFrame,
        Self::UnsupportedVersion,
        Self::RoomClosed,
        Self::RoomLocked,
        Self::Kicked,
        Self::NotPermitted,
        Self::PaddingViolation,
        Self::Blocked,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::SessionExpired,
        Self::TokenUsed,
        Self::SlowConsumer,
        Self::RateLimited,
        Self::Idle,
        Self::HeartbeatLost,
        Self::RoomFull,
        Self::OrderLost,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// A fixed name: the reason text, the metric label and the log field alike.
    ///
    /// Never contains peer input, so it cannot carry one member's data to another or to a log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::GoingAway => "going_away",
            Self::Protocol => "protocol",
            Self::Unsupported => "unsupported",
            Self::BadUtf8 => "bad_utf8",
            Self::TooLarge => "too_large",
            Self::Bug => "bug",
            Self::Restart => "restart",
            Self::Overload => "overload",
            Self::BadFrame => "bad_frame",
            Self::UnsupportedVersion => "unsupported_version",
            Self::RoomClosed => "room_closed",
            Self::RoomLocked => "room_locked",
            Self::Kicked => "kicked",
            Self::NotPermitted => "not_permitted",
            Self::PaddingViolation => "padding_violation",
            Self::Blocked => "blocked",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::SessionExpired => "session_expired",
            Self::TokenUsed => "token_used",
            Self::SlowConsumer => "slow_consumer",
            Self::RateLimited => "rate_limited",
            Self::Idle => "idle",
            Self::HeartbeatLost => "heartbeat_lost",
            Self::RoomFull => "room_full",
            Self::OrderLost => "order_lost",
        }
    }

    /// What the client should do, by the range of the number.
    pub const fn advice(self) -> Advice {
        match self.code() {
            1001 | 1012 | 1013 | 4200..=4299 => Advice::Backoff,
            4100..=4199 => Advice::FreshToken,
            _ => Advice::Stop,
        }
    }

    /// Whether the peer did what it must not do, so that coming back costs it more. Tokens are not
    /// among them: those are counted as failed admissions.
    pub const fn is_fault(self) -> bool {
        match self {
            Self::Protocol
            | Self::Unsupported
            | Self::BadUtf8
            | Self::TooLarge
            | Self::BadFrame
            | Self::UnsupportedVersion
            | Self::NotPermitted
            | Self::PaddingViolation
            | Self::SlowConsumer
            | Self::RateLimited => true,
            Self::Left
            | Self::GoingAway
            | Self::Bug
            | Self::Restart
            | Self::Overload
            | Self::RoomClosed
            | Self::RoomLocked
            | Self::Kicked
            | Self::Blocked
            | Self::TokenMissing
            | Self::TokenInvalid
            | Self::TokenExpired
            | Self::SessionExpired
            | Self::TokenUsed
            | Self::Idle
            | Self::HeartbeatLost
            | Self::RoomFull
            | Self::OrderLost => false,
        }
    }

    /// The reason text: the name, and the hint in milliseconds where there is one (`name;r=<ms>`).
    pub fn reason(self, retry_after: Option<Duration>) -> String {
        match retry_after {
            Some(hint) => format!("{};r={}", self.name(), hint.as_millis()),
            None => self.name().to_owned(),
        }
    }
}

/// A close reason shares a 125-byte control frame with the two bytes of the code (RFC 6455 §5.5),
/// and a hint takes at most 24 bytes of it.
const NAME_MAX: usize = 123 - 24;

const _: () = {
    let mut rest: &[Close] = &Close::ALL;
    while let [first, tail @ ..] = rest {
        assert!(first.name().len() <= NAME_MAX);
        if let [second, ..] = tail {
            assert!(first.code() < second.code(), "codes are unique and in order");
        }
        rest = tail;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_the_advice() {
        for (close, advice) in [
            (Close::Left, Advice::Stop),
            (Close::Restart, Advice::Backoff),
            (Close::Overload, Advice::Backoff),
            (Close::Kicked, Advice::Stop),
            (Close::TokenUsed, Advice::FreshToken),
            (Close::SlowConsumer, Advice::Backoff),
        ] {
            assert_eq!(close.advice(), advice, "{close:?}");
        }
    }

    #[test]
    fn a_hint_follows_the_name() {
        assert_eq!(Close::Restart.reason(None), "restart");
        assert_eq!(Close::Restart.reason(Some(Duration::from_millis(3400))), "restart;r=3400");
    }

    #[test]
    fn every_reason_fits_into_a_control_frame() {
        for close in Close::ALL {
            assert!(close.reason(Some(Duration::from_secs(86_400))).len() <= 123);
        }
    }
}
