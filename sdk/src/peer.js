/**
 * What is known of one other member, for as long as it and we are connected.
 *
 * State and its small rules; `session` decides what happens.
 */

import { equal } from './bytes.js';
import { ReplayWindow } from './replay.js';
import { memberBytes } from './wire.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./hello.js').Hello} Hello */
/** @typedef {import('./keys.js').SenderKeys} SenderKeys */

/**
 * What one sid of a member needs.
 *
 * @typedef {object} Stream
 * @property {SenderKeys} sender
 * @property {ReplayWindow} window
 */

/**
 * Where our own sending stood when we learnt of a member.
 *
 * @typedef {object} Mark
 * @property {number} generation
 * @property {number} since What is below this counter was sealed before it came.
 * @property {number} sent Numbered broadcasts.
 */

/** The newest sid and the one before it, of which frames may still be under way. */
const STREAMS_MAX = 2;
/** HELLOs that are looked at: each costs key derivations. Honest members need two, and one an hour. */
const HELLOS_MAX = 8;
const HELLO_REFILL_MS = 30_000;

/** One other member. */
export class Peer {
  /** Whether it has answered our challenge: it is there now and has the link's key. */
  verified = false;
  /** Whether we have answered its challenge. */
  answered = false;
  /** How many numbered messages we have sent to it alone. */
  directsSent = 0;
  /** @type {Bytes | null} The key that it signs with; never changes. */
  signPublic = null;
  /** @type {CryptoKey | null} The same, ready for use. */
  signKey = null;
  /** @type {Bytes | null} */
  challenge = null;

  #generation = -1;
  /** @type {Map<string, Stream>} */
  #streams = new Map();
  /** Highest numbers heard. @type {{ broadcast: number | null, direct: number }} */
  #heard = { broadcast: null, direct: 0 };
  /** Numbered broadcasts that need not have been heard. */
  #sent = 0;
  #hellos = HELLOS_MAX;
  #hellosAt = 0;

  /**
   * @param {string} id
   * @param {Mark} mark
   */
  constructor(id, mark) {
    this.id = id;
    this.idBytes = memberBytes(id);
    this.mark = mark;
  }

  /**
   * Takes one HELLO from the budget.
   *
   * @param {number} now In milliseconds.
   * @returns {boolean} Whether it may be looked at.
   */
  spendHello(now) {
    const refill = Math.floor((now - this.#hellosAt) / HELLO_REFILL_MS);
    if (refill > 0) {
      this.#hellos = Math.min(HELLOS_MAX, this.#hellos + refill);
      this.#hellosAt = now;
    }
    if (this.#hellos === 0) return false;
    this.#hellos -= 1;
    return true;
  }

  /**
   * @param {string} stream
   * @returns {Stream | undefined}
   */
  stream(stream) {
    return this.#streams.get(stream);
  }

  /**
   * Whether a HELLO comes from who this is.
   *
   * @param {Hello} hello
   * @returns {boolean} Also before the first HELLO, which says who this is.
   */
  isSame(hello) {
    if (this.signPublic === null || this.challenge === null) return true;
    return equal(this.signPublic, hello.signPublic) && equal(this.challenge, hello.challenge);
  }

  /**
   * Adopts the keys of a HELLO with a new sid.
   *
   * @param {string} stream
   * @param {SenderKeys} sender
   * @param {Hello} hello Checked.
   * @param {CryptoKey} signKey
   * @returns {Stream | null} `null` if the sid is not newer than what is known.
   */
  adopt(stream, sender, hello, signKey) {
    if (hello.generation <= this.#generation) return null;
    this.#generation = hello.generation;
    this.signPublic = hello.signPublic;
    this.signKey = signKey;
    this.challenge = hello.challenge;
    const made = { sender, window: new ReplayWindow(hello.since) };
    this.#streams.set(stream, made);
    const [oldest] = this.#streams.keys();
    if (this.#streams.size > STREAMS_MAX && oldest !== undefined) this.#streams.delete(oldest);
    return made;
  }

  /**
   * Begins to count what is heard.
   *
   * @param {number} sent Numbered broadcasts before it knew of us. The last of them may have been
   *   under way when we came, and then they are for us.
   */
  verify(sent) {
    this.verified = true;
    this.#sent = sent;
  }

  /**
   * Checks the number of a message.
   *
   * @param {'broadcast' | 'direct'} kind
   * @param {number} number
   * @returns {number} How many messages are missing before it; -1 if it is out of order.
   */
  hear(kind, number) {
    const heard = this.#heard[kind];
    if (number <= (heard ?? 0)) return -1;
    this.#heard[kind] = number;
    return Math.max(0, number - (heard ?? this.#sent) - 1);
  }
}
