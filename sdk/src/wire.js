/**
 * What goes over the WebSocket: data frames (PROTOCOL §6) and control frames (§7).
 *
 * Pure: bytes and text to values and back. Parsing returns `null` for what is not of the protocol.
 */

import { fromBase64url, readU64, toBase64url, view } from './bytes.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * A frame as it is handed to the relay.
 *
 * @typedef {object} Outgoing
 * @property {number} ref 16 bits; answers name it.
 * @property {string | undefined} [to] A member; without it the frame goes to all others.
 * @property {boolean} [ack]
 * @property {boolean} [echo]
 * @property {boolean} [volatile]
 * @property {Bytes} payload
 */

/**
 * A frame as the relay delivers it.
 *
 * @typedef {object} Delivery
 * @property {boolean} direct
 * @property {boolean} own Our own, asked for by `echo`.
 * @property {boolean} volatile
 * @property {string} from A member, as the relay says.
 * @property {number} seq
 * @property {Bytes} payload
 */

/**
 * @typedef {object} Limits
 * @property {number} payload_bytes
 * @property {[number, number]} messages Count and seconds.
 * @property {[number, number]} bytes Count and seconds.
 * @property {[number, number]} [fanout] Bytes times receivers, and seconds.
 * @property {number} heartbeat_s
 */

/**
 * @typedef {{ type: 'welcome', member: string, epoch: string, seq: number, members: string[],
 *   cap: string, locked: boolean, limits: Limits, padding: number[] }} Welcome
 */

/**
 * @typedef {Welcome
 *   | { type: 'join', member: string, seq: number }
 *   | { type: 'leave', member: string, seq: number, why: 'left' | 'lost' | 'kicked' }
 *   | { type: 'ack', ref: number, seq: number }
 *   | { type: 'error', code: string, ref: number | null, retryAfterMs: number }
 *   | { type: 'gap', from: number, to: number, members: string[] | null }
 *   | { type: 'reset', epoch: string, seq: number, members: string[] | null }
 *   | { type: 'paused' }
 *   | { type: 'resumed' }
 *   | { type: 'room', locked: boolean }
 *   | { type: 'closed' }
 *   | { type: 'drain', reconnectAfterMs: number }
 *   | { type: 'pong', n: number }} Control
 */

const OP_SEND = 0x01;
const OP_DIRECT = 0x02;
const OP_BROADCAST = 0x81;
const OP_DELIVERED_DIRECT = 0x82;
const FLAG_ACK = 0x01;
const FLAG_ECHO = 0x02;
const FLAG_VOLATILE = 0x04;
const MEMBER_LENGTH = 8;
const DELIVERY_HEAD_LENGTH = 20;
/** No relay allows more members in a room. */
export const MEMBERS_MAX = 10_000;
/** No relay allows longer payloads, in bytes. */
const PAYLOAD_LENGTH_MAX = 1024 * 1024;
/** A welcome that names that many members takes half of it, in characters. */
const CONTROL_LENGTH_MAX = 32 * MEMBERS_MAX;
/** Longest time between two pings that makes sense, in seconds. */
const HEARTBEAT_MAX_S = 3600;

/**
 * @param {Outgoing} frame
 * @returns {Bytes}
 */
export function encodeFrame({ ref, to, ack, echo, volatile, payload }) {
  const dest = to === undefined ? new Uint8Array(0) : memberBytes(to);
  const bytes = new Uint8Array(4 + dest.length + payload.length);
  bytes[0] = to === undefined ? OP_SEND : OP_DIRECT;
  bytes[1] = (ack ? FLAG_ACK : 0) | (echo ? FLAG_ECHO : 0) | (volatile ? FLAG_VOLATILE : 0);
  view(bytes).setUint16(2, ref);
  bytes.set(dest, 4);
  bytes.set(payload, 4 + dest.length);
  return bytes;
}

/**
 * @param {ArrayBuffer} buffer
 * @returns {Delivery | null}
 */
export function parseDelivery(buffer) {
  const bytes = new Uint8Array(buffer);
  const length = bytes.length - DELIVERY_HEAD_LENGTH;
  if (length < 1 || length > PAYLOAD_LENGTH_MAX) return null;
  const fields = view(bytes);
  const [op = 0, flags = 0] = bytes;
  const seq = readU64(fields, 12);
  if (op !== OP_BROADCAST && op !== OP_DELIVERED_DIRECT) return null;
  if ((flags & ~(FLAG_ECHO | FLAG_VOLATILE)) !== 0 || fields.getUint16(2) !== 0) return null;
  if (seq === null) return null;
  return {
    direct: op === OP_DELIVERED_DIRECT,
    own: (flags & FLAG_ECHO) !== 0,
    volatile: (flags & FLAG_VOLATILE) !== 0,
    from: toBase64url(bytes.subarray(4, 12)),
    seq,
    payload: bytes.subarray(DELIVERY_HEAD_LENGTH),
  };
}

/**
 * The binary form of a member's id.
 *
 * @param {string} member An id that was parsed before.
 * @returns {Bytes}
 */
export function memberBytes(member) {
  const bytes = fromBase64url(member, MEMBER_LENGTH);
  if (bytes === null) throw new RangeError('not a member id');
  return bytes;
}

/**
 * @param {unknown} text
 * @returns {text is string} Whether this is the spelling of a member's id.
 */
export function isMember(text) {
  return fromBase64url(text, MEMBER_LENGTH) !== null;
}

/**
 * @param {string} text
 * @returns {Control | 'unknown' | null} `'unknown'` for a type of a newer relay, `null` for
 *   what is not of the protocol.
 */
export function parseControl(text) {
  /** @type {Record<string, unknown>} */
  let value;
  if (text.length > CONTROL_LENGTH_MAX) return null;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || typeof value.type !== 'string') return null;
  const parse = Object.hasOwn(PARSERS, value.type) ? PARSERS[value.type] : undefined;
  return parse === undefined ? 'unknown' : parse(value);
}

/** @type {Record<string, (value: Record<string, unknown>) => Control | null>} */
const PARSERS = {
  welcome: parseWelcome,
  join({ member, seq }) {
    return isMember(member) && isCount(seq) ? { type: 'join', member: String(member), seq } : null;
  },
  leave({ member, seq, why }) {
    if (!isMember(member) || !isCount(seq)) return null;
    return { type: 'leave', member, seq, why: why === 'left' || why === 'kicked' ? why : 'lost' };
  },
  ack({ ref, seq }) {
    return isCount(ref) && isCount(seq) ? { type: 'ack', ref, seq } : null;
  },
  error({ code, ref, retry_after_ms }) {
    // The code goes to the application: only a plain name may.
    if (typeof code !== 'string' || !/^[a-z_]{1,32}$/.test(code)) return null;
    const retryAfterMs = isCount(retry_after_ms) ? retry_after_ms : 0;
    return { type: 'error', code, ref: isCount(ref) ? ref : null, retryAfterMs };
  },
  gap({ from, to, members = null }) {
    // One less than `from`: only something without a number is missing.
    if (!isCount(from) || !isCount(to) || from > to + 1 || !isRosterOrNull(members)) return null;
    return { type: 'gap', from, to, members };
  },
  reset({ epoch, seq, members = null }) {
    if (!isEpoch(epoch) || !isCount(seq) || !isRosterOrNull(members)) return null;
    return { type: 'reset', epoch, seq, members };
  },
  paused() {
    return { type: 'paused' };
  },
  resumed() {
    return { type: 'resumed' };
  },
  room({ locked }) {
    return typeof locked === 'boolean' ? { type: 'room', locked } : null;
  },
  closed() {
    return { type: 'closed' };
  },
  drain({ reconnect_after_ms }) {
    const wait = reconnect_after_ms;
    return isCount(wait) ? { type: 'drain', reconnectAfterMs: wait } : null;
  },
  pong({ n }) {
    return isCount(n) ? { type: 'pong', n } : null;
  },
};

/**
 * @param {Record<string, unknown>} value
 * @returns {Control | null}
 */
function parseWelcome({ v, member, epoch, seq, members, cap, locked, limits, padding }) {
  if (v !== 1 || !isMember(member) || !isEpoch(epoch) || !isCount(seq)) return null;
  if (typeof cap !== 'string' || typeof locked !== 'boolean') return null;
  if (!isRoster(members)) return null;
  const checked = parseLimits(limits);
  if (checked === null || !Array.isArray(padding) || padding.length > 64) return null;
  if (!padding.every((size) => isCount(size) && size > 0)) return null;
  const buckets = [...padding].sort((a, b) => a - b);
  return {
    type: 'welcome',
    member,
    epoch,
    seq,
    members: [...new Set(members)].filter((id) => id !== member),
    cap,
    locked,
    limits: checked,
    padding: buckets,
  };
}

/**
 * @param {unknown} members
 * @returns {members is string[]}
 */
function isRoster(members) {
  return Array.isArray(members) && members.length <= MEMBERS_MAX && members.every(isMember);
}

/**
 * @param {unknown} members
 * @returns {members is string[] | null}
 */
function isRosterOrNull(members) {
  return members === null || isRoster(members);
}

/**
 * @param {unknown} value
 * @returns {Limits | null}
 */
function parseLimits(value) {
  if (typeof value !== 'object' || value === null) return null;
  const limits = /** @type {Record<string, unknown>} */ (value);
  const { payload_bytes, messages, bytes, fanout, heartbeat_s } = limits;
  if (!isCount(payload_bytes) || !isRate(messages) || !isRate(bytes)) return null;
  if (fanout !== undefined && !isRate(fanout)) return null;
  if (!isCount(heartbeat_s) || heartbeat_s < 1 || heartbeat_s > HEARTBEAT_MAX_S) return null;
  return { payload_bytes, messages, bytes, ...(fanout && { fanout }), heartbeat_s };
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
function isCount(value) {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/**
 * @param {unknown} value
 * @returns {value is string}
 */
function isEpoch(value) {
  return typeof value === 'string' && value.length <= 64;
}

/**
 * @param {unknown} value
 * @returns {value is [number, number]}
 */
function isRate(value) {
  return Array.isArray(value) && value.length === 2 && value.every((n) => isCount(n) && n > 0);
}
