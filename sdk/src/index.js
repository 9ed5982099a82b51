/**
 * Lethewire: end-to-end encrypted rooms over a relay that cannot read and does not keep.
 *
 * This is all that applications import; README.md describes it. The modules, leaves first:
 * `errors`, `bytes`, `timers`, `close` (what close codes mean), `link` (what a link stands for),
 * `wire` (the relay's frames); the end-to-end encryption, without I/O or clock: `padding`, `keys`,
 * `frame`, `hello`, `message`, `replay`, `quarantine`, `peer`, `sender`, `session`, `verify`; the
 * way to the relay: `api`, `socket`, `reconnect`, `connection`; the bounded queues: `pace`,
 * `outbox`, `inbox`, `stream`; and what ties them together: `roster`, `events`, `visit`, `room`, `open`.
 */

export { LethewireError } from './errors.js';
export { isSupported } from './keys.js';
export { formatLink, parseLink } from './link.js';
export { createRoom, joinRoom } from './open.js';
export { Room } from './room.js';
