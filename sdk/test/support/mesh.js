/**
 * Sessions that talk to each other in memory, with every frame in the hands of the test: what a
 * relay can do to them, a test can do.
 */

import { random, toBase64url } from '../../src/bytes.js';
import { certify } from '../../src/link.js';
import { contentOf } from '../../src/message.js';
import { Session } from '../../src/session.js';

/** @typedef {import('../../src/session.js').Effect} Effect */
/** @typedef {import('../../src/wire.js').Delivery} Delivery */

export const SIZES = [256, 1024, 4096, 16384, 65536];

/** One room's sessions. */
export class Mesh {
  /** @type {Map<string, Session>} */
  sessions = new Map();
  now = 1_000_000;
  seq = 0;

  /** @param {import('../../src/link.js').Certificate} certificate */
  constructor(certificate) {
    this.certificate = certificate;
  }

  static async create() {
    return new Mesh(await certify(random(32), random(16)));
  }

  /**
   * A session that everybody knows of, before any HELLO.
   *
   * @param {{ frames: number, ms: number }} [rekey]
   */
  async enter(rekey) {
    const { room, epochKey } = this.certificate;
    const self = toBase64url(random(8));
    const members = [...this.sessions.keys()];
    const parts = { room, epochKey, self, members, sizes: SIZES, now: this.now, rekey };
    const session = await Session.create(parts);
    for (const other of this.sessions.values()) other.join(self, this.now);
    this.sessions.set(self, session);
    return session;
  }

  /**
   * A session that has greeted and been greeted by everybody.
   *
   * @param {{ frames: number, ms: number }} [rekey]
   */
  async join(rekey) {
    const session = await this.enter(rekey);
    await this.greet(session);
    return session;
  }

  /**
   * A HELLO to all, and everything that follows from it.
   *
   * @param {Session} session
   */
  async greet(session) {
    const payload = await session.hello(undefined, this.now);
    for (const other of this.others(session)) {
      await this.carry(this.delivery(session, payload), other);
    }
  }

  /**
   * Delivers and answers, until nobody has anything to answer.
   *
   * @param {Delivery} delivery
   * @param {Session} to
   * @returns {Promise<Effect[]>} What `to` made of it.
   */
  async carry(delivery, to) {
    const effects = await to.receive(delivery, this.now);
    for (const effect of effects) {
      const peer = effect.type === 'greet' ? this.sessions.get(effect.member) : undefined;
      if (!peer) continue;
      await this.carry(
        this.delivery(to, await to.hello(peer.self, this.now), { direct: true }),
        peer,
      );
    }
    return effects;
  }

  /** @param {Session} session */
  others(session) {
    return [...this.sessions.values()].filter((other) => other !== session);
  }

  /**
   * @param {Session} from
   * @param {Uint8Array<ArrayBuffer>} payload
   * @param {Partial<Delivery>} [how]
   * @returns {Delivery}
   */
  delivery(from, payload, how) {
    this.seq += 1;
    const plain = { direct: false, own: false, volatile: false, seq: this.seq };
    return { ...plain, from: from.self, payload, ...how };
  }

  /**
   * Seals something, as a delivery.
   *
   * @param {Session} from
   * @param {unknown} data
   * @param {{ to?: Session, volatile?: boolean }} [how]
   */
  async say(from, data, { to, volatile = false } = {}) {
    const payload = await from.seal(contentOf(data), { to: to?.self, volatile }, this.now);
    return this.delivery(from, payload, { direct: to !== undefined, volatile });
  }
}

/**
 * What effects come to, in short.
 *
 * @param {Effect[]} effects
 * @returns {unknown[]} Data of messages, codes of problems.
 */
export function brief(effects) {
  return effects.map((effect) => {
    if (effect.type === 'message') return effect.message.data;
    return effect.type === 'problem' ? `${effect.code} ${effect.count}` : effect.type;
  });
}
