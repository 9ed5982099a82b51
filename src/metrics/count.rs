//! The counters without labels, and the levels of bounded tables.

use prometheus_client::registry::Unit;

use super::closed::closed_enum;

closed_enum!(
    /// A counter without labels.
    Count {
        MessagesAccepted: ("messages_accepted", None) =>
            "Messages that members sent and a room took in.",
        PayloadBytesAccepted: ("payload_accepted", Some(Unit::Bytes)) =>
            "Payload of the accepted messages.",
        DirectsAccepted: ("directs_accepted", None) =>
            "Accepted messages that were for one member.",
        MessagesDelivered: ("messages_delivered", None) =>
            "Copies of messages handed to members' sockets or backlogs.",
        BytesWritten: ("socket_written", Some(Unit::Bytes)) => "Bytes that members' sockets took.",
        Writes: ("socket_writes", None) => "System calls that wrote to members' sockets.",
        Flushes: ("room_flushes", None) => "Batches of rooms that were sent out.",
        BacklogBytesQueued: ("backlog_queued", Some(Unit::Bytes)) =>
            "Bytes that a socket did not take at once.",
        DroppedVolatile: ("volatile_dropped", None) =>
            "Volatile frames that gave way in a full backlog.",
        DroppedOnClose: ("frames_dropped_on_close", None) =>
            "Frames still queued when their connection ended.",
        Evictions: ("evictions", None) =>
            "Slow members closed because too much waited for all together.",
        FramesRefused: ("frames_refused", None) => "Frames over a limit, refused with an error.",
        PaddingViolations: ("padding_violations", None) =>
            "Messages whose size is not announced, delivered in rooms that warn of it.",
        PingsSent: ("pings_sent", None) => "Heartbeat pings to members.",
        PongsReceived: ("pongs_received", None) => "Answers to heartbeat pings.",
        Joins: ("joins", None) => "Members that joined a room.",
        Leaves: ("leaves", None) => "Members that left a room, for any reason.",
        Kicks: ("kicks", None) => "Members that an owner removed.",
        RoomsOpened: ("rooms_opened", None) => "Rooms that got their first member.",
        RoomsClosed: ("rooms_closed", None) => "Rooms that an owner or operator closed.",
        RecordsMade: ("records_made", None) => "Room records that were made or restored.",
        RecordsExpired: ("records_expired", None) => "Room records whose time was over.",
        TokensMinted: ("tokens_minted", None) => "Join tokens handed out.",
        Upgrades: ("upgrades", None) => "WebSocket handshakes answered with 101.",
        ConnectionsAccepted: ("connections_accepted", None) =>
            "Sockets accepted on the public listener.",
        AcceptErrors: ("accept_errors", None) =>
            "Failed attempts to accept a socket, such as no free descriptors.",
        BusPublished: ("bus_published", None) => "Batches of rooms that the bus put in order.",
        BusRetried: ("bus_retried", None) =>
            "Batches and questions sent to Redis again, because no answer had come.",
        BusGaps: ("bus_gaps", None) => "Times that the members of a room missed something.",
        BusResets: ("bus_resets", None) => "Times that a room's order began anew.",
        BusMessagesVoided: ("bus_messages_voided", None) =>
            "Accepted messages that got no place, because the order was lost; their rooms were told.",
        BusInboxesDropped: ("bus_inboxes_dropped", None) =>
            "Times that more waited for a room than may, and was dropped.",
        BusLinksLost: ("bus_links_lost", None) => "Times that the link to a Redis server broke.",
        Panics: ("panics", None) => "Connections that ended because of a bug.",
    }
);

closed_enum!(
    /// A bounded table of the relay.
    Level {
        Records: ("room_records", None) => "Room records kept, tombstones included.",
        Addresses: ("addresses_tracked", None) => "Address prefixes kept for limits.",
        ReplayEntries: ("replay_entries", None) => "Used join tokens kept until they expire.",
    }
);
