//! Why somebody was not let in: one closed label.

use prometheus_client::registry::Unit;

use super::closed::closed_enum;

closed_enum!(
    /// Why somebody was not let in before there was a member; the label `reason`.
    Refusal {
        Capacity: ("capacity", None) => "The relay has as many connections as it takes.",
        Memory: ("memory", None) => "The process has as much resident memory as it may.",
        AddressConnections: ("address_connections", None) =>
            "The address has as many connections as it may.",
        AddressHandshakes: ("address_handshakes", None) =>
            "The address did WebSocket handshakes too quickly.",
        AddressRequests: ("address_requests", None) => "The address sent requests too quickly.",
        AddressTokens: ("address_tokens", None) => "The address asked for tokens too quickly.",
        AddressPace: ("address_pace", None) =>
            "The address used much of its rooms or tokens and did not wait between two.",
        AddressFailures: ("address_failures", None) =>
            "Another failed admission of an address that had too many.",
        AddressFaults: ("address_faults", None) =>
            "Too many connections of the address were closed for cause.",
        Addresses: ("addresses", None) => "More addresses than the relay keeps track of.",
        Forwarded: ("forwarded", None) => "The proxies' part of X-Forwarded-For is missing, malformed or from somebody else.",
        ProxyHeader: ("proxy_header", None) =>
            "A connection that did not begin with a PROXY protocol header of version 2.",
        UntrustedProxy: ("untrusted_proxy", None) =>
            "A peer that is no trusted proxy, where only those may connect.",
        Origin: ("origin", None) => "The page's origin is not listed.",
        Request: ("request", None) => "A malformed HTTP request or body.",
        Upgrade: ("upgrade", None) => "A malformed WebSocket handshake.",
        Admission: ("admission", None) => "Unknown room or wrong key.",
        RoomCreations: ("room_creations", None) => "The address made rooms too quickly.",
        Rooms: ("rooms", None) => "The relay keeps as many rooms as it takes.",
        RoomFull: ("room_full", None) => "The room has as many members as it takes.",
        RoomLocked: ("room_locked", None) => "The room takes no new members.",
        RoomClosed: ("room_closed", None) => "The room was closed by its owner.",
        Version: ("version", None) => "The protocol's version was not offered.",
        Token: ("token", None) => "A missing, invalid or expired join token.",
        TokenUsed: ("token_used", None) => "A join token that was used before.",
        ReplayFull: ("replay_full", None) => "The list of used tokens is full.",
        Bus: ("bus", None) => "The bus is down, or did not answer in time.",
        WarmUp: ("warm_up", None) => "The relay has just started and lets in fewer at first.",
        Draining: ("draining", None) => "The relay is about to stop.",
    }
);
