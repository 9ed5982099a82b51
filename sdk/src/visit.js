/**
 * One connection's stay in the room: what arrives, in order, and the keys that open it.
 *
 * It begins with a welcome and ends with the connection; nothing of it is used again.
 */

import { Inbox } from './inbox.js';
import { now } from './timers.js';

/** @typedef {import('./session.js').Effect} Effect */
/** @typedef {import('./session.js').Session} Session */
/** @typedef {import('./wire.js').Control} Control */
/** @typedef {import('./wire.js').Delivery} Delivery */

/** @typedef {() => Promise<void> | void} Step */

/**
 * @typedef {object} VisitHandler
 * @property {(session: Session) => void} onReady The keys are made; called first.
 * @property {(control: Control, session: Session) => void} onControl
 * @property {(delivery: Delivery) => void} onDelivery Called before its effects.
 * @property {(effects: Effect[]) => void} onEffects
 * @property {(code: 'inbox_full' | 'bug') => void} onBroken Nothing more will be heard.
 */

/** A stay in the room. */
export class Visit {
  /** @type {Session | null} `null` before its keys are made and after the end. */
  session = null;
  #handler;
  #isOver = false;
  /** @type {Inbox<Step>} */
  #inbox;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #expiry;

  /**
   * @param {() => Promise<Session>} createSession
   * @param {VisitHandler} handler
   */
  constructor(createSession, handler) {
    this.#handler = handler;
    this.#inbox = new Inbox(
      (step) => this.#take(step),
      () => handler.onBroken('inbox_full'),
    );
    this.#inbox.push(async () => {
      const session = await createSession();
      if (this.#isOver) return;
      this.session = session;
      handler.onReady(session);
    }, 0);
  }

  /** @param {Control} control */
  control(control) {
    this.#inbox.push(() => {
      if (this.session) this.#handler.onControl(control, this.session);
      this.#armExpiry();
    }, 0);
  }

  /** @param {Delivery} delivery */
  deliver(delivery) {
    const step = async () => {
      this.#handler.onDelivery(delivery);
      const effects = await this.session?.receive(delivery, now());
      if (!this.#isOver) this.#handler.onEffects(effects ?? []);
      this.#armExpiry();
    };
    this.#inbox.push(step, delivery.payload.length, delivery.volatile);
  }

  /** The connection is gone. */
  end() {
    this.#isOver = true;
    this.session = null;
    this.#inbox.stop();
    clearTimeout(this.#expiry);
  }

  /** @param {Step} step */
  async #take(step) {
    try {
      if (!this.#isOver) await step();
    } catch {
      // Nothing that arrives may end like this; if it does, a member that goes is better than one
      // that has missed something and does not know it.
      this.end();
      this.#handler.onBroken('bug');
    }
  }

  /** One timer for what waits in quarantine. */
  #armExpiry() {
    clearTimeout(this.#expiry);
    const next = this.session?.nextExpiry ?? null;
    if (next === null) return;
    const wait = Math.max(0, next - now());
    this.#expiry = setTimeout(() => {
      this.#handler.onEffects(this.session?.expire(now()) ?? []);
      this.#armExpiry();
    }, wait);
  }
}
