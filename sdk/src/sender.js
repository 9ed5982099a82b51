/**
 * Our own half of a session: the keys that we seal with, and every count that depends on them.
 *
 * A counter is taken before anything is awaited, so that no two frames can ever share one.
 */

import { random } from './bytes.js';
import { LethewireError } from './errors.js';
import { bodyLengthMax, KIND, sealFrame, streamOf } from './frame.js';
import { createChallenge, encodeHello } from './hello.js';
import { createIdentity, deriveSender, SID_LENGTH } from './keys.js';
import { encodeBody } from './message.js';
import { ReplayWindow } from './replay.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./frame.js').Place} Place */
/** @typedef {import('./keys.js').Identity} Identity */
/** @typedef {import('./keys.js').SenderKeys} SenderKeys */
/** @typedef {import('./message.js').Content} Content */
/** @typedef {import('./padding.js').Sizes} Sizes */
/** @typedef {import('./peer.js').Mark} Mark */
/** @typedef {import('./peer.js').Peer} Peer */
/** @typedef {import('./peer.js').Stream} Stream */

/** When a sender takes a new sid. */
export const REKEY = Object.freeze({ frames: 2 ** 20, ms: 3_600_000 });

/** The key epoch; this version has only the first. */
export const EPOCH = 0;

/**
 * How long a frame may be under way. What was sealed this long before a member came is not for it;
 * what was sealed later may have been ordered behind its join.
 */
export const UNDER_WAY_MS = 10_000;
/** How exactly it is remembered when what was sealed. */
const HISTORY_STEP_MS = 1000;

/** The newest sid and the one before it, of which echoes may still be under way. */
const STREAMS_MAX = 2;

/** Seals frames. */
export class Sender {
  #place;
  #epochKey;
  #identity;
  #sizes;
  #rekey;
  #challenge = createChallenge();
  /** @type {SenderKeys} */
  #keys;
  #since;
  #generation = 0;
  #counter = 0;
  #broadcasts = 0;
  /** The counter at some moments, ascending. @type {{ at: number, counter: number }[]} */
  #history = [];
  #sealedAt = Number.NEGATIVE_INFINITY;
  /** @type {Map<string, Stream>} */
  #streams = new Map();

  /**
   * @param {{ place: Place, epochKey: CryptoKey, sizes: Sizes, identity: Identity,
   *   keys: SenderKeys, now: number, rekey: { frames: number, ms: number } }} parts
   */
  constructor({ place, epochKey, sizes, identity, keys, now, rekey }) {
    this.#place = place;
    this.#epochKey = epochKey;
    this.#sizes = sizes;
    this.#identity = identity;
    this.#rekey = rekey;
    this.#keys = keys;
    this.#since = now;
    this.#keep(keys);
  }

  /**
   * Makes fresh keys.
   *
   * @param {{ place: Place, epochKey: CryptoKey, sizes: Sizes, now: number,
   *   rekey?: { frames: number, ms: number } | undefined }} parts
   * @returns {Promise<Sender>}
   */
  static async create({ rekey = REKEY, ...parts }) {
    const identity = await createIdentity();
    const keys = await deriveSender(parts.epochKey, random(SID_LENGTH));
    return new Sender({ ...parts, identity, keys, rekey });
  }

  /** What others have to answer. */
  get challenge() {
    return this.#challenge;
  }

  /** The key that our signatures are checked with. */
  get signPublic() {
    return this.#identity.signPublic;
  }

  /** Most bytes of a body. */
  get bodyLengthMax() {
    return bodyLengthMax(this.#sizes);
  }

  /**
   * Where our sending stands, for a member that has just come.
   *
   * @param {number} now In milliseconds.
   * @returns {Mark}
   */
  mark(now) {
    const before = now - UNDER_WAY_MS;
    const since =
      this.#sealedAt <= before
        ? this.#counter
        : (this.#history.findLast(({ at }) => at <= before)?.counter ?? 0);
    return { generation: this.#generation, since, sent: this.#broadcasts };
  }

  /**
   * What an echo of ours is opened with.
   *
   * @param {string} stream
   * @returns {Stream | undefined}
   */
  stream(stream) {
    return this.#streams.get(stream);
  }

  /**
   * @param {number} now In milliseconds.
   * @returns {boolean} Whether `rekey` and a HELLO to all must come before the next frame.
   */
  isRekeyDue(now) {
    return this.#counter >= this.#rekey.frames || now - this.#since >= this.#rekey.ms;
  }

  /** @param {number} now In milliseconds. */
  async rekey(now) {
    const keys = await deriveSender(this.#epochKey, random(SID_LENGTH));
    this.#keys = keys;
    this.#generation += 1;
    this.#counter = 0;
    this.#since = now;
    this.#history = [];
    this.#keep(keys);
  }

  /**
   * Seals a HELLO: to all, or the answer to one member's challenge.
   *
   * @param {Peer | undefined} peer
   * @param {number} now In milliseconds.
   * @returns {Promise<Bytes>}
   */
  hello(peer, now) {
    const mark = peer?.mark;
    const body = encodeHello({
      signPublic: this.#identity.signPublic,
      agreePublic: this.#identity.agreePublic,
      challenge: this.#challenge,
      answer: peer?.challenge ?? null,
      generation: this.#generation,
      since: mark?.generation === this.#generation ? mark.since : 0,
      sent: mark?.sent ?? 0,
    });
    return this.#seal(KIND.hello, body, now);
  }

  /**
   * Seals what the application says: to all, or to one member.
   *
   * @param {Content} content
   * @param {boolean} volatile
   * @param {Peer | undefined} peer
   * @param {number} now In milliseconds.
   * @returns {Promise<Bytes>}
   * @throws {LethewireError} `too_large`, before anything is counted.
   */
  async say(content, volatile, peer, now) {
    const to = peer?.id;
    const { length } = encodeBody(content, { to, volatile, number: 0 });
    if (length > this.bodyLengthMax) throw new LethewireError('too_large');
    let number = 0;
    if (!volatile) number = peer ? ++peer.directsSent : ++this.#broadcasts;
    return this.#seal(KIND.app, encodeBody(content, { to, volatile, number }), now);
  }

  /**
   * @param {number} kind
   * @param {Bytes} body That fits.
   * @param {number} now
   * @returns {Promise<Bytes>}
   */
  async #seal(kind, body, now) {
    this.#remember(now);
    const counter = this.#counter++;
    const frame = { kind, epoch: EPOCH, sender: this.#keys, counter, body };
    const signed = { ...frame, signKey: this.#identity.signKey };
    const payload = await sealFrame(this.#place, signed, this.#sizes);
    if (payload === null) throw new LethewireError('too_large');
    return payload;
  }

  /** @param {number} now */
  #remember(now) {
    this.#sealedAt = now;
    const last = this.#history.at(-1);
    if (last && now - last.at < HISTORY_STEP_MS) return;
    const before = now - UNDER_WAY_MS;
    const oldest = this.#history.findLastIndex(({ at }) => at <= before);
    this.#history.splice(0, Math.max(0, oldest));
    this.#history.push({ at: now, counter: this.#counter });
  }

  /** @param {SenderKeys} keys */
  #keep(keys) {
    this.#streams.set(streamOf(keys.sid), { sender: keys, window: new ReplayWindow(0) });
    const [oldest] = this.#streams.keys();
    if (this.#streams.size > STREAMS_MAX && oldest !== undefined) this.#streams.delete(oldest);
  }
}
