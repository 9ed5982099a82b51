//! The closed labels of counters: what was sent, what became of it, who was judged how.

use prometheus_client::registry::Unit;

use super::closed::closed_enum;
use super::refusal::Refusal;

closed_enum!(
    /// What kind of message; the label `class`. A volatile one is volatile, whomever it is for.
    MessageClass {
        Room: ("room", None) => "For everybody in the room.",
        Direct: ("direct", None) => "For one member.",
        Volatile: ("volatile", None) => "May be dropped first.",
    }
);

closed_enum!(
    /// Why a copy of a message was not delivered; the label `reason`.
    Dropped {
        Volatile: ("volatile", None) => "It may be dropped first, and the member's queue was full.",
        SlowConsumer: ("slow_consumer", None) =>
            "It waited, or was about to, when its member was closed as slow consumer.",
        Closed: ("closed", None) => "Its member's connection was ending, or ended before it went out.",
        Left: ("left", None) => "Its member left before the batch was sent.",
    }
);

closed_enum!(
    /// What was found about a join token; the label `verdict`.
    Verdict {
        Valid: ("valid", None) => "Everything about it is right; it may have been used all the same.",
        Missing: ("missing", None) => "There is none.",
        Several: ("several", None) => "There is more than one.",
        Malformed: ("malformed", None) => "It is none, or not of the strict profile.",
        Algorithm: ("algorithm", None) => "Another algorithm or type.",
        Key: ("key", None) => "A key that is not configured.",
        Signature: ("signature", None) => "The MAC does not hold.",
        Claims: ("claims", None) => "The claims are not the known ones, or one is out of range.",
        Audience: ("audience", None) => "Made for another relay, or by another issuer.",
        Expired: ("expired", None) => "Its time is over.",
        Used: ("used", None) => "It was used before.",
    }
);

closed_enum!(
    /// A limit that was hit; the label `limit`. Those per address are `address_…`.
    LimitHit {
        Connections: ("connections", None) => "`MAX_TOTAL_CONNECTIONS`.",
        Memory: ("memory", None) => "`MAX_MEMORY_BYTES`, or three quarters of `MAX_BUFFERED_BYTES`.",
        BufferedBytes: ("buffered_bytes", None) => "`MAX_BUFFERED_BYTES`: a slow member was closed.",
        AddressConnections: ("address_connections", None) => "`MAX_CONNS_PER_IP`.",
        AddressHandshakes: ("address_handshakes", None) => "`MAX_HANDSHAKES_PER_IP_PER_10S`.",
        AddressRequests: ("address_requests", None) => "`MAX_HTTP_REQUESTS_PER_IP_PER_MIN`.",
        AddressRooms: ("address_rooms", None) => "`MAX_ROOM_CREATES_PER_IP_PER_MIN`.",
        AddressTokens: ("address_tokens", None) => "`MAX_TOKENS_PER_IP_PER_MIN`.",
        AddressPace: ("address_pace", None) => "`SLOW_DOWN_AFTER_PERCENT`.",
        AddressFailures: ("address_failures", None) => "`MAX_FAILED_ADMISSIONS_PER_IP_PER_MIN`.",
        AddressFaults: ("address_faults", None) => "`MAX_FAULTS_PER_IP`.",
        Addresses: ("addresses", None) => "`MAX_TRACKED_ADDRESSES`.",
        Rooms: ("rooms", None) => "`MAX_ROOMS`.",
        RoomMembers: ("room_members", None) => "`ROOM_MEMBERS_MAX`, or the room's own option.",
        ReplayEntries: ("replay_entries", None) => "`TOKEN_REPLAY_ENTRIES_MAX`.",
        WarmUp: ("warm_up", None) => "`WARM_UP_S`.",
        PayloadBytes: ("payload_bytes", None) =>
            "`MAX_PAYLOAD_BYTES` or `MAX_FRAGMENTS_PER_MESSAGE`.",
        Messages: ("messages", None) => "`MAX_MSGS_PER_10S`.",
        Bytes: ("bytes", None) => "`MAX_BYTES_PER_10S`.",
        Frames: ("frames", None) => "`MAX_FRAMES_PER_10S`.",
        RawBytes: ("raw_bytes", None) => "`MAX_RAW_BYTES_PER_10S`.",
        Pings: ("pings", None) => "`MAX_PINGS_PER_10S`.",
        Fanout: ("fanout", None) => "`MAX_FANOUT_BYTES_PER_10S`.",
        RoomFanout: ("room_fanout", None) => "`MAX_ROOM_FANOUT_BYTES_PER_10S`.",
        Strikes: ("strikes", None) => "`MAX_STRIKES`: a member was closed for it.",
        Outbox: ("outbox", None) => "`SLOW_CONSUMER_BUFFER_THRESHOLD` or `MAX_OUTBOX_FRAMES`.",
        OutboxAge: ("outbox_age", None) => "`MAX_OUTBOX_AGE_MS` or `WRITE_STALL_TIMEOUT_MS`.",
        BusOutgoing: ("bus_outgoing", None) => "`BUS_OUTGOING_BYTES`.",
        BusInbox: ("bus_inbox", None) => "`BUS_INBOX_BYTES`.",
    }
);

impl LimitHit {
    /// The limit behind a refusal, if there is one.
    pub(super) const fn behind(refusal: Refusal) -> Option<Self> {
        Some(match refusal {
            Refusal::Capacity => Self::Connections,
            Refusal::Memory => Self::Memory,
            Refusal::AddressConnections => Self::AddressConnections,
            Refusal::AddressHandshakes => Self::AddressHandshakes,
            Refusal::AddressRequests => Self::AddressRequests,
            Refusal::AddressTokens => Self::AddressTokens,
            Refusal::AddressPace => Self::AddressPace,
            Refusal::AddressFailures => Self::AddressFailures,
            Refusal::AddressFaults => Self::AddressFaults,
            Refusal::Addresses => Self::Addresses,
            Refusal::RoomCreations => Self::AddressRooms,
            Refusal::Rooms => Self::Rooms,
            Refusal::RoomFull => Self::RoomMembers,
            Refusal::ReplayFull => Self::ReplayEntries,
            Refusal::WarmUp => Self::WarmUp,
            _ => return None,
        })
    }
}

closed_enum!(
    /// What an owner had done; the label `operation`.
    OwnerOperation {
        Close: ("close", None) => "The room was closed.",
        Lock: ("lock", None) => "The room was locked.",
        Unlock: ("unlock", None) => "The room was unlocked.",
        Kick: ("kick", None) => "A member was removed.",
        Options: ("options", None) => "The room's options were changed.",
    }
);

closed_enum!(
    /// What happened to a room's record; the label `operation`.
    RoomOperation {
        Create: ("create", None) => "It was made, by POST /v1/rooms or by a token that may.",
        Restore: ("restore", None) => "It was asked for again and was there.",
        Close: ("close", None) => "It became a tombstone.",
        Expire: ("expire", None) => "Its time was over.",
    }
);

closed_enum!(
    /// Which route answered; the label `route`.
    Route {
        Rooms: ("rooms", None) => "POST /v1/rooms.",
        Tokens: ("tokens", None) => "POST /v1/tokens.",
        Owner: ("owner", None) => "POST /v1/owner.",
        WebSocket: ("ws", None) => "GET /v1/ws.",
        Info: ("info", None) => "GET /v1/info.",
        Page: ("page", None) => "The demo page.",
        Live: ("live", None) => "GET /live, on either listener.",
        Ready: ("ready", None) => "GET /ready, on either listener.",
        Health: ("health", None) => "GET /health.",
        Metrics: ("metrics", None) => "GET /metrics.",
        Admin: ("admin", None) => "Everything under /admin.",
        Other: ("other", None) => "No route, or no request that can be read.",
    }
);
