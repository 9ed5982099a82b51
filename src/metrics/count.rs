//! The counters without labels, and the levels of bounded tables.

use prometheus_client::registry::Unit;

use super::closed::closed_enum;

closed_enum!(
    /// A counter without labels.
    Count {
        CopiesAddressed: ("copies_addressed", None) =>
            "Copies of messages that members here were to get: each message times its receivers.",
        CopiesDelivered: ("copies_delivered", None) =>
            "Copies that a member's socket took entirely.",
        BytesRead: ("socket_read", Some(Unit::Bytes)) => "Bytes that came from members' sockets.",
        BytesWritten: ("socket_written", Some(Unit::Bytes)) => "Bytes that members' sockets took.",
        Writes: ("socket_writes", None) => "System calls that wrote to members' sockets.",
        Flushes: ("room_flushes", None) => "Batches of rooms that were sent out.",
        BacklogBytesQueued: ("backlog_queued", Some(Unit::Bytes)) =>
            "Bytes that a socket did not take at once.",
        Evictions: ("evictions", None) =>
            "Slow members closed because too much waited for all together.",
        FramesRefused: ("frames_refused", None) => "Frames over a limit, refused with an error.",
        PaddingViolations: ("padding_violations", None) =>
            "Messages whose size is not announced, delivered in rooms that warn of it.",
        PingsSent: ("pings_sent", None) => "Heartbeat pings to members.",
        PongsReceived: ("pongs_received", None) => "Answers to heartbeat pings.",
        HeartbeatsLost: ("heartbeats_lost", None) =>
            "Members closed because they answered no ping.",
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
        BusReconnects: ("bus_reconnects", None) =>
            "Times that a link to a Redis server that was lost was made again.",
        LogLinesSuppressed: ("log_lines_suppressed", None) =>
            "Log lines that were not written, because the same came too often.",
        Panics: ("panics", None) => "Connections that ended because of a bug.",
    }
);

closed_enum!(
    /// A gauge that is set and not counted: how full a table is, how much there may be, a state.
    Level {
        Records: ("room_records", None) => "Room records kept, tombstones included.",
        RecordsMax: ("room_records_max", None) => "Room records that may be kept.",
        Addresses: ("addresses_tracked", None) => "Address prefixes kept for limits.",
        ReplayEntries: ("replay_entries", None) => "Used join tokens kept until they expire.",
        ReplayEntriesMax: ("replay_entries_max", None) => "Used join tokens that may be kept.",
        ConnectionsMax: ("connections_max", None) => "Sockets that may be open.",
        QueuedBytesMax: ("queued_bytes_max", None) =>
            "Bytes that may wait for all slow members together.",
        MemoryBytesMax: ("memory_bytes_max", None) =>
            "Resident memory above which nobody new comes in; 0 is no limit.",
        Ready: ("ready", None) => "Whether new members should be sent here.",
        BusUp: ("bus_up", None) =>
            "Whether what is published comes back; 1 on a node that shares no rooms.",
    }
);
