/**
 * The relay's HTTP calls (PROTOCOL §3), and what to do when one fails.
 */

import { toBase64url } from './bytes.js';
import { LethewireError } from './errors.js';
import { originOf } from './link.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * @typedef {object} Grant
 * @property {string} token For one connection, and soon.
 * @property {string} ws The URL to connect to.
 */

/**
 * What an application may ask for when it makes a room.
 *
 * @typedef {object} RoomOptions
 * @property {number} [ttl_s] Life of the room, in seconds.
 * @property {number} [idle_s] Life after the last member left, in seconds.
 * @property {number} [members_max]
 * @property {'off' | 'warn' | 'enforce'} [padding] What the relay does with sizes that it did not
 *   announce. Messages of this SDK have announced sizes.
 */

/** Longest wait for an answer. */
const TIMEOUT_MS = 10_000;
/** Longest answer that is read, in bytes. */
const ANSWER_BYTES_MAX = 16_384;
const RETRY_AFTER_MAX_MS = 3_600_000;

/** Names of refusals, by the last part of a problem's type (RFC 9457). */
const REFUSALS = new Map([
  ['admission-failed', 'admission_failed'],
  ['origin-denied', 'origin_denied'],
  ['room-full', 'room_full'],
  ['room-closed', 'room_closed'],
  ['room-locked', 'room_locked'],
  ['quota-exceeded', 'quota_exceeded'],
  ['temporary-reduced-capacity', 'temporary_reduced_capacity'],
]);
/** Those that pass by themselves. */
const PASSING = new Set(['network', 'room_full', 'quota_exceeded', 'temporary_reduced_capacity']);

/** A call that the relay did not grant. */
export class CallError extends LethewireError {
  /**
   * @param {string} code
   * @param {number} [retryAfterMs] No earlier than this.
   */
  constructor(code, retryAfterMs = 0) {
    super(code);
    this.retryAfterMs = retryAfterMs;
    /** Whether the same call can succeed later. */
    this.isPassing = PASSING.has(code);
  }
}

/** The three calls, for one room. */
export class Api {
  #relay;
  #credentials;
  #fetch;

  /**
   * @param {string} relay Base URL.
   * @param {{ room: Bytes, admission: Bytes, owner: Bytes, ownerSecret: Bytes | null }} credentials
   * @param {typeof fetch} [send] What makes the calls.
   */
  constructor(relay, credentials, send = (url, init) => fetch(url, init)) {
    if (originOf(relay) === null) {
      throw new LethewireError('bad_argument', 'The relay is an http(s) URL.');
    }
    this.#relay = relay.replace(/[?#].*$/s, '').replace(/\/+$/, '');
    this.#credentials = credentials;
    this.#fetch = send;
  }

  /**
   * Makes the room, or restores it if the relay has forgotten it.
   *
   * @param {RoomOptions} [options]
   * @returns {Promise<Grant>}
   * @throws {CallError} `rooms_not_offered` if the relay makes no rooms for us.
   */
  async createRoom(options) {
    const { admission, owner } = this.#credentials;
    const key = toBase64url(admission);
    const answer = await this.#post('rooms', { key, owner: toBase64url(owner), options });
    return this.#grantOf(answer);
  }

  /**
   * Gets a token for the room.
   *
   * @returns {Promise<Grant>}
   * @throws {CallError} `admission_failed` also if the relay has forgotten the room.
   */
  async createToken() {
    const { room, admission, ownerSecret } = this.#credentials;
    const owner_secret = ownerSecret ? toBase64url(ownerSecret) : undefined;
    const body = { room: toBase64url(room), key: toBase64url(admission), owner_secret };
    return this.#grantOf(await this.#post('tokens', body));
  }

  /**
   * Does what only the owner may.
   *
   * @param {'close' | 'lock' | 'unlock' | 'kick'} op
   * @param {string} [member]
   * @returns {Promise<void>}
   * @throws {LethewireError} `not_owner`, or what the relay says.
   */
  async own(op, member) {
    const { room, ownerSecret } = this.#credentials;
    if (ownerSecret === null) throw new LethewireError('not_owner');
    const body = { room: toBase64url(room), owner_secret: toBase64url(ownerSecret), op, member };
    try {
      await this.#post('owner', body);
    } catch (error) {
      const code = error instanceof CallError ? error.code : '';
      if (code === 'admission_failed') throw new LethewireError('not_owner');
      if (code === 'rooms_not_offered' && op === 'kick') throw new LethewireError('no_such_member');
      throw error;
    }
  }

  /**
   * @param {string} call
   * @param {object} body
   * @returns {Promise<unknown>} The answer; `undefined` if it is empty.
   */
  async #post(call, body) {
    const { status, retryAfterMs, answer } = await this.#exchange(call, body);
    if (status >= 200 && status < 300) return answer;
    const type = /** @type {{ type?: unknown } | undefined} */ (answer)?.type;
    const name = typeof type === 'string' ? (type.split(/[/:#]/).at(-1) ?? '') : '';
    throw new CallError(REFUSALS.get(name) ?? codeOfStatus(status), retryAfterMs);
  }

  /**
   * @param {string} call
   * @param {object} body
   */
  async #exchange(call, body) {
    try {
      const response = await this.#fetch(`${this.#relay}/v1/${call}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        referrerPolicy: 'no-referrer',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const answer = parse(await readText(response));
      return { status: response.status, retryAfterMs: retryAfterOf(response, answer), answer };
    } catch {
      // What went wrong is in the browser's own console; its text may name the address.
      throw new CallError('network');
    }
  }

  /**
   * @param {unknown} answer
   * @returns {Grant}
   */
  #grantOf(answer) {
    const { token, ws } = /** @type {Record<string, unknown>} */ (answer ?? {});
    if (typeof token !== 'string' || !/^[\w.-]{1,1024}$/.test(token) || typeof ws !== 'string') {
      throw new CallError('bad_answer');
    }
    // A relay that is reached over TLS must not talk its clients out of it.
    const isSafe =
      ws.startsWith('wss://') || (ws.startsWith('ws://') && this.#relay.startsWith('http:'));
    if (!isSafe) throw new CallError('bad_answer');
    return { token, ws };
  }
}

/**
 * @param {Response} response
 * @returns {Promise<string>}
 */
async function readText(response) {
  const reader = response.body?.getReader();
  if (!reader) return '';
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
    if (text.length > ANSWER_BYTES_MAX) {
      await reader.cancel();
      return '';
    }
  }
}

/** @param {string} text */
function parse(text) {
  try {
    return /** @type {unknown} */ (JSON.parse(text));
  } catch {
    return undefined;
  }
}

/**
 * When to come back: what the relay's own answer says, else what any server may say.
 *
 * @param {Response} response
 * @param {unknown} answer
 * @returns {number} In milliseconds; 0 if nothing is said.
 */
function retryAfterOf({ status, headers }, answer) {
  const inBody = /** @type {{ retry_after_ms?: unknown } | undefined} */ (answer)?.retry_after_ms;
  const waits = [inBody, waitOf(headers.get('Retry-After'))];
  if (status === 429) waits.push(resetOf(headers.get('RateLimit')));
  const wait = waits.find((ms) => typeof ms === 'number' && Number.isFinite(ms) && ms > 0);
  return Math.min(Number(wait ?? 0), RETRY_AFTER_MAX_MS);
}

/**
 * `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
 *
 * @param {string | null} value
 */
function waitOf(value) {
  if (value === null) return 0;
  return /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
}

/**
 * The latest reset of the quotas in `RateLimit` that are used up
 * (draft-ietf-httpapi-ratelimit-headers-10, section 4).
 *
 * @param {string | null} value
 */
function resetOf(value) {
  const used = (value ?? '').split(',').filter((quota) => /;\s*r=0(?!\d)/.test(quota));
  const resets = used.map((quota) => Number(/;\s*t=(\d{1,9})/.exec(quota)?.[1] ?? 0));
  return Math.max(0, ...resets) * 1000;
}

/** @param {number} status */
function codeOfStatus(status) {
  if (status === 429) return 'quota_exceeded';
  if (status === 404) return 'rooms_not_offered';
  // A proxy in front of a relay that is just away answers for it.
  return status >= 500 ? 'network' : 'bad_answer';
}
