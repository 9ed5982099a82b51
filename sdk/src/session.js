/**
 * End-to-end encryption of one connection: who is there, with which keys, what to believe.
 *
 * No I/O, no clock: frames and times come in, payloads and effects go out. One session per
 * connection: its member id is new, and so are all its keys; nothing of it is ever stored. The
 * rules are in docs/e2ee.md, section 4. `receive` must not run twice at the same time.
 */

import { equal } from './bytes.js';
import { LethewireError } from './errors.js';
import { KIND, openFrame, parseHead } from './frame.js';
import { parseHello } from './hello.js';
import { deriveSender, importSignPublic } from './keys.js';
import { parseBody } from './message.js';
import { Peer } from './peer.js';
import { Quarantine } from './quarantine.js';
import { EPOCH, Sender } from './sender.js';
import { memberBytes } from './wire.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./frame.js').Head} Head */
/** @typedef {import('./hello.js').Hello} Hello */
/** @typedef {import('./keys.js').SenderKeys} SenderKeys */
/** @typedef {import('./message.js').Body} Body */
/** @typedef {import('./message.js').Content} Content */
/** @typedef {import('./peer.js').Stream} Stream */
/** @typedef {import('./wire.js').Delivery} Delivery */

/**
 * What an application gets to hear.
 *
 * @typedef {object} Message
 * @property {string} from The sender's member id.
 * @property {any} data A `Uint8Array`, a string or what the JSON stood for.
 * @property {'bytes' | 'text' | 'json'} kind
 * @property {number} seq The room's number; 0 if volatile.
 * @property {boolean} direct To us alone.
 * @property {boolean} own Our own, asked for by `echo`.
 * @property {boolean} volatile
 */

/**
 * @typedef {{ type: 'message', message: Message, length: number }
 *   | { type: 'verified', member: string }
 *   | { type: 'greet', member: string }
 *   | { type: 'problem', code: string, member: string, count: number }} Effect
 */

/** One connection's keys and peers. */
export class Session {
  #room;
  #epochKey;
  #sender;
  #quarantine = new Quarantine();
  /** @type {Map<string, Peer>} */
  #peers = new Map();

  /**
   * @param {Bytes} room
   * @param {CryptoKey} epochKey
   * @param {string} self Our member id.
   * @param {Sender} sender
   */
  constructor(room, epochKey, self, sender) {
    this.self = self;
    this.#room = room;
    this.#epochKey = epochKey;
    this.#sender = sender;
  }

  /**
   * Makes the keys of a connection.
   *
   * @param {{ room: Bytes, epochKey: CryptoKey, self: string, members: string[],
   *   sizes: import('./padding.js').Sizes, now: number,
   *   rekey?: { frames: number, ms: number } | undefined }} parts
   * @returns {Promise<Session>}
   */
  static async create({ room, epochKey, self, members, sizes, now, rekey }) {
    const place = { room, from: memberBytes(self) };
    const sender = await Sender.create({ place, epochKey, sizes, now, rekey });
    const session = new Session(room, epochKey, self, sender);
    for (const member of members) session.join(member, now);
    return session;
  }

  /** Most bytes of a body. */
  get bodyLengthMax() {
    return this.#sender.bodyLengthMax;
  }

  /** Whether everybody who is there has our answer. */
  get isSettled() {
    return [...this.#peers.values()].every((peer) => peer.answered);
  }

  /** When `expire` has something to do next, in milliseconds; `null`: not as things are. */
  get nextExpiry() {
    return this.#quarantine.nextExpiry;
  }

  /**
   * The signature keys of everybody who is verified, ours among them.
   *
   * @returns {Bytes[]}
   */
  signPublics() {
    const others = [...this.#peers.values()].filter((peer) => peer.verified);
    return [this.#sender.signPublic, ...others.flatMap((peer) => peer.signPublic ?? [])];
  }

  /**
   * @param {string} member Who came in.
   * @param {number} now In milliseconds.
   */
  join(member, now) {
    this.#peers.set(member, new Peer(member, this.#sender.mark(now)));
  }

  /**
   * @param {string} member Who went.
   * @returns {Effect[]}
   */
  leave(member) {
    this.#peers.delete(member);
    const count = this.#quarantine.release(member).length;
    return count > 0 ? problem('never_verified', member, count) : [];
  }

  /**
   * The order was broken: nobody knows what the others have missed, so all prove themselves anew. A
   * HELLO to all comes next.
   *
   * @param {number} now In milliseconds.
   * @returns {Effect[]}
   */
  restart(now) {
    const members = [...this.#peers.keys()];
    const effects = members.flatMap((member) => this.leave(member));
    for (const member of members) this.join(member, now);
    return effects;
  }

  /**
   * Drops what has waited for its sender's proof for too long.
   *
   * @param {number} now In milliseconds.
   * @returns {Effect[]}
   */
  expire(now) {
    const counts = [...this.#quarantine.expire(now)];
    return counts.flatMap(([member, count]) => problem('never_verified', member, count));
  }

  /**
   * Takes a new sid if it is time for one.
   *
   * @param {number} now In milliseconds.
   * @returns {Promise<boolean>} Whether a HELLO to all must come before the next frame.
   */
  async rekeyIfDue(now) {
    if (!this.#sender.isRekeyDue(now)) return false;
    await this.#sender.rekey(now);
    return true;
  }

  /**
   * Seals a HELLO: to all, or the answer to one member's challenge.
   *
   * @param {string | undefined} to
   * @param {number} now In milliseconds.
   * @returns {Promise<Bytes>}
   * @throws {LethewireError} `no_such_member` if the one is gone.
   */
  async hello(to, now) {
    return this.#sender.hello(this.#receiver(to), now);
  }

  /**
   * Seals what the application says.
   *
   * @param {Content} content
   * @param {{ to?: string | undefined, volatile?: boolean | undefined }} envelope
   * @param {number} now In milliseconds.
   * @returns {Promise<Bytes>}
   * @throws {LethewireError} `no_such_member`, `too_large`.
   */
  async seal(content, { to, volatile = false }, now) {
    return this.#sender.say(content, volatile, this.#receiver(to), now);
  }

  /**
   * Takes in what the relay delivered.
   *
   * @param {Delivery} delivery
   * @param {number} now In milliseconds.
   * @returns {Promise<Effect[]>}
   */
  async receive(delivery, now) {
    const { from, own, payload } = delivery;
    const head = parseHead(payload);
    if (head === null || head.epoch !== EPOCH || own !== (from === this.self)) {
      return problem('undecryptable', from);
    }
    if (own) return head.kind === KIND.app ? this.#receiveOwn(delivery, head) : [];
    const peer = this.#peers.get(from);
    if (peer === undefined) return problem('undecryptable', from);
    if (head.kind === KIND.hello) return this.#receiveHello(delivery, head, peer, now);
    // Other kinds are of later versions.
    return head.kind === KIND.app ? this.#receiveApp(delivery, head, peer, now) : [];
  }

  /**
   * @param {Delivery} delivery
   * @param {Head} head
   * @param {Peer} peer
   * @param {number} now
   * @returns {Promise<Effect[]>}
   */
  async #receiveHello(delivery, head, peer, now) {
    if (!peer.spendHello(now)) return problem('too_many_hellos', peer.id);
    const known = peer.stream(head.stream);
    if (known && !known.window.accepts(head.counter)) return problem('replayed', peer.id);
    const sender = known?.sender ?? (await deriveSender(this.#epochKey, head.sid));
    if (!equal(sender.sid, head.sid) || !equal(sender.commitment, head.commitment)) {
      return problem('undecryptable', peer.id);
    }
    const opened = await this.#openHello(delivery, head, peer, sender);
    if (opened === null) return problem('undecryptable', peer.id);
    const { hello, signKey } = opened;
    // To all without an answer, to one with the answer to its challenge: anything else is replayed.
    const isForUs =
      hello.answer === null
        ? !delivery.direct
        : delivery.direct && equal(hello.answer, this.#sender.challenge);
    if (!isForUs) return problem('replayed', peer.id);
    if (!peer.isSame(hello)) return problem('identity_changed', peer.id);
    const stream = known ?? peer.adopt(head.stream, sender, hello, signKey);
    if (stream === null) return problem('replayed', peer.id);
    stream.window.raise(hello.since);
    stream.window.mark(head.counter);
    // To all under a known sid: it has missed something, perhaps our answer.
    if (known && hello.answer === null) peer.answered = false;
    return this.#believe(peer, hello, now);
  }

  /**
   * @param {Delivery} delivery
   * @param {Head} head
   * @param {Peer} peer
   * @param {SenderKeys} sender
   * @returns {Promise<{ hello: Hello, signKey: CryptoKey } | null>}
   */
  async #openHello({ payload }, head, peer, sender) {
    /** @type {{ hello: Hello, signKey: CryptoKey } | null} */
    let opened = null;
    const place = { room: this.#room, from: peer.idBytes };
    const body = await openFrame(place, head, payload, sender, async (unchecked) => {
      const hello = parseHello(unchecked);
      const signKey = hello && (await importSignPublic(hello.signPublic).catch(() => null));
      opened = hello && signKey && { hello, signKey };
      return signKey;
    });
    return body && opened;
  }

  /**
   * Draws the consequences of a HELLO that holds.
   *
   * @param {Peer} peer
   * @param {Hello} hello
   * @param {number} now
   * @returns {Promise<Effect[]>}
   */
  async #believe(peer, hello, now) {
    /** @type {Effect[]} */
    const effects = [];
    if (!peer.answered) {
      peer.answered = true;
      effects.push({ type: 'greet', member: peer.id });
    }
    if (hello.answer !== null && !peer.verified) {
      peer.verify(hello.sent);
      effects.push({ type: 'verified', member: peer.id });
    }
    if (!peer.verified) return effects;
    for (const held of this.#quarantine.release(peer.id)) {
      effects.push(...(await this.receive(held, now)));
    }
    return effects;
  }

  /**
   * @param {Delivery} delivery
   * @param {Head} head
   * @param {Peer} peer
   * @param {number} now
   * @returns {Promise<Effect[]>}
   */
  async #receiveApp(delivery, head, peer, now) {
    const stream = peer.stream(head.stream);
    if (!stream || !peer.verified) {
      // What may be dropped is not worth the room.
      if (delivery.volatile || this.#quarantine.hold(delivery, now)) return [];
      return problem('quarantine_full', peer.id);
    }
    const body = await this.#openBody(delivery, head, stream, peer.signKey);
    if (typeof body === 'string') return problem(body, peer.id);
    const said = message(delivery, body);
    if (body.volatile) return [said];
    const missing = peer.hear(delivery.direct ? 'direct' : 'broadcast', body.number);
    if (missing < 0) return problem('reordered', peer.id);
    return missing > 0 ? [...problem('messages_lost', peer.id, missing), said] : [said];
  }

  /**
   * @param {Delivery} delivery
   * @param {Head} head
   * @returns {Promise<Effect[]>}
   */
  async #receiveOwn(delivery, head) {
    const stream = this.#sender.stream(head.stream);
    if (!stream) return problem('undecryptable', this.self);
    const key = await importSignPublic(this.#sender.signPublic);
    const body = await this.#openBody(delivery, head, stream, key);
    return typeof body === 'string' ? problem(body, this.self) : [message(delivery, body)];
  }

  /**
   * @param {Delivery} delivery
   * @param {Head} head
   * @param {Stream} stream
   * @param {CryptoKey | null} signKey
   * @returns {Promise<Body | 'replayed' | 'undecryptable'>} The body, or what is wrong.
   */
  async #openBody({ from, payload, direct, volatile }, head, { sender, window }, signKey) {
    if (!window.accepts(head.counter)) return 'replayed';
    const place = { room: this.#room, from: memberBytes(from) };
    const bytes = await openFrame(place, head, payload, sender, async () => signKey);
    if (bytes === null) return 'undecryptable';
    window.mark(head.counter);
    const body = parseBody(bytes);
    const to = direct ? this.self : null;
    return body !== null && body.to === to && body.volatile === volatile ? body : 'undecryptable';
  }

  /**
   * @param {string | undefined} to
   * @returns {Peer | undefined} `undefined` for all.
   */
  #receiver(to) {
    const peer = to === undefined ? undefined : this.#peers.get(to);
    if (to !== undefined && peer === undefined) throw new LethewireError('no_such_member');
    return peer;
  }
}

/**
 * @param {Delivery} delivery
 * @param {Body} body
 * @returns {Effect}
 */
function message({ from, seq, direct, own, volatile, payload }, { kind, data }) {
  const length = payload.length;
  return { type: 'message', message: { from, data, kind, seq, direct, own, volatile }, length };
}

/**
 * @param {string} code
 * @param {string} member
 * @param {number} [count]
 * @returns {Effect[]}
 */
function problem(code, member, count = 1) {
  return [{ type: 'problem', code, member, count }];
}
