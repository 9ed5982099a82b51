/**
 * Lethewire: end-to-end encrypted rooms over a relay that cannot read and does not keep.
 *
 * This is all that applications import; README.md describes it. The modules, leaves first:
 * `errors`, `bytes`, `close`, `link`, `wire`, `padding` (encodings), `keys`, `frame`, `hello`,
 * `message`, `replay`, `quarantine`, `peer`, `session` (end-to-end encryption, no I/O), `verify`
 * (words to compare), `api`, `reconnect`, `connection` (the way to the relay), `pace`, `outbox`,
 * `inbox`, `stream` (bounded queues), `room` (what ties them together).
 */

export { LethewireError } from './errors.js';
export { isSupported } from './keys.js';
export { formatLink, parseLink } from './link.js';
export { createRoom, joinRoom, Room } from './room.js';
