/**
 * Why connections end, and what to do about it.
 *
 * The table is the relay's, number for number and name for name; the range of a number is the
 * advice, so that a code from a newer relay is treated as it means to be.
 */

/** @typedef {'stop' | 'fresh_token' | 'backoff'} Advice */

/**
 * Every close code and its name, in numeric order.
 *
 * @type {ReadonlyMap<number, string>}
 */
export const CLOSE_NAMES = new Map([
  [1000, 'left'],
  [1001, 'going_away'],
  [1002, 'protocol'],
  [1003, 'unsupported'],
  [1007, 'bad_utf8'],
  [1009, 'too_large'],
  [1011, 'bug'],
  [1012, 'restart'],
  [1013, 'overload'],
  [4000, 'bad_frame'],
  [4001, 'unsupported_version'],
  [4002, 'room_closed'],
  [4003, 'room_locked'],
  [4004, 'kicked'],
  [4006, 'not_permitted'],
  [4007, 'padding_violation'],
  [4008, 'blocked'],
  [4100, 'token_missing'],
  [4101, 'token_invalid'],
  [4102, 'token_expired'],
  [4103, 'session_expired'],
  [4104, 'token_used'],
  [4200, 'slow_consumer'],
  [4201, 'rate_limited'],
  [4202, 'idle'],
  [4203, 'heartbeat_lost'],
  [4204, 'room_full'],
  [4205, 'order_lost'],
]);

/** What a browser reports when no close frame came (RFC 6455 §7.4.1): the network, not the relay. */
const WITHOUT_CLOSE = [1005, 1006, 1015];

/**
 * What to do after a close.
 *
 * @param {number} code
 * @returns {Advice}
 */
export function adviceOf(code) {
  if (code === 1001 || code === 1012 || code === 1013 || (code >= 4200 && code <= 4299)) {
    return 'backoff';
  }
  if (WITHOUT_CLOSE.includes(code)) return 'backoff';
  return code >= 4100 && code <= 4199 ? 'fresh_token' : 'stop';
}

/**
 * The name of a close code, never the text that came with it: that is the peer's.
 *
 * @param {number} code
 * @returns {string} `network` for a connection that broke, `unknown` for a code of a newer relay.
 */
export function nameOf(code) {
  return CLOSE_NAMES.get(code) ?? (WITHOUT_CLOSE.includes(code) ? 'network' : 'unknown');
}

/**
 * The hint in a close reason, `name;r=<ms>`.
 *
 * @param {string} reason
 * @returns {number} Milliseconds, at most an hour; 0 if there is none.
 */
export function hintOf(reason) {
  const digits = /;r=(\d{1,9})$/.exec(reason)?.[1];
  return digits === undefined ? 0 : Math.min(Number(digits), HINT_MAX_MS);
}

/** A longer wait than this is no hint but a mistake. */
const HINT_MAX_MS = 3_600_000;
