/**
 * What waits to be said: sealed and sent one at a time, in order, no faster than the relay allows.
 *
 * It outlives connections: what was not yet sealed goes out over the next one. What was sealed and
 * sent is never sent again, because nobody here can know whether it arrived.
 */

import { LethewireError } from './errors.js';
import { Pace } from './pace.js';
import { delay, now } from './timers.js';
import { encodeFrame } from './wire.js';

/** What the relay complains about and delivers all the same: the confirmation still comes. */
const DELIVERED = 'padding_violation';
/** What the relay could not take at that moment. */
const UNAVAILABLE = 'unavailable';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./message.js').Content} Content */
/** @typedef {import('./session.js').Session} Session */

/**
 * What one message needs.
 *
 * @typedef {object} Job
 * @property {'message'} type
 * @property {Content} content
 * @property {string | undefined} to
 * @property {boolean} ack
 * @property {boolean} echo
 * @property {boolean} volatile
 * @property {(seq: number | undefined) => void} resolve
 * @property {(error: Error) => void} reject
 */

/**
 * A HELLO to send: to all (`undefined`) or to one member.
 *
 * @typedef {{ type: 'greeting', to: string | undefined }} Greeting
 */

/**
 * @typedef {object} Line
 * @property {Session} session
 * @property {{ send(frame: Bytes): void, readonly bufferedAmount: number }} socket
 * @property {Pace} pace
 * @property {() => number} receivers How many members hear what is for all.
 * @property {AbortController} over
 */

/** Bounds of what waits. */
export const OUTBOX = Object.freeze({
  messages: 256,
  bytes: 8 * 1024 * 1024,
  acks: 1024,
  greetings: 10_000,
});

/** More than this is not handed to the socket before it has sent some, in bytes. */
const BUFFERED_MAX = 1024 * 1024;
const BUFFERED_POLL_MS = 20;
const PAUSED_POLL_MS = 50;
const REF_MAX = 0xffff;
const PENDING_MAX = REF_MAX / 2;

/** The queue in front of the relay. */
export class Outbox {
  /** @type {Job[]} */
  #jobs = [];
  /** Refused for now, and said before all others. @type {Job[]} */
  #again = [];
  #isPaused = false;
  /** Nothing is sent before this moment. */
  #heldUntil = 0;
  #bytes = 0;
  /** @type {Greeting[]} */
  #greetings = [];
  /** Sent, and the relay's answer is awaited. @type {Map<number, Job | Greeting>} */
  #pending = new Map();
  #acksAwaited = 0;
  #ref = 0;
  /** @type {Line | null} */
  #line = null;
  #isClosed = false;
  #wake = () => {};
  /** @type {(() => void)[]} */
  #drained = [];

  /**
   * Queues a message.
   *
   * @param {Content} content
   * @param {{ to?: string | undefined, ack?: boolean, echo?: boolean, volatile?: boolean }} how
   * @returns {Promise<number | undefined>} Its number if an ack was asked for.
   */
  say(content, { to, ack = false, echo = false, volatile = false }) {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new LethewireError('closed'));
      if (volatile && this.#line === null) return resolve(undefined);
      const bytes = this.#bytes + content.data.length;
      const isFull = this.#jobs.length >= OUTBOX.messages || bytes > OUTBOX.bytes;
      if (isFull || (ack && this.#acksAwaited >= OUTBOX.acks)) {
        return reject(new LethewireError('queue_full'));
      }
      this.#bytes = bytes;
      if (ack) this.#acksAwaited += 1;
      this.#jobs.push({ type: 'message', content, to, ack, echo, volatile, resolve, reject });
      this.#wake();
    });
  }

  /**
   * Answers a member's challenge, before anything else is said.
   *
   * @param {string} to
   */
  greet(to) {
    if (this.#greetings.length >= OUTBOX.greetings) return;
    this.#greetings.push({ type: 'greeting', to });
    this.#wake();
  }

  /** Says our HELLO to all once more, before anything else. */
  announce() {
    if (this.#line === null || this.#greetings.some(({ to }) => to === undefined)) return;
    this.#greetings.unshift({ type: 'greeting', to: undefined });
    this.#wake();
  }

  /** The relay takes nothing at the moment: what is said waits. */
  pause() {
    this.#isPaused = true;
  }

  /** The relay takes messages again. */
  resume() {
    this.#isPaused = false;
    this.#heldUntil = 0;
  }

  /**
   * Begins to send, our HELLO to all first.
   *
   * @param {Session} session
   * @param {Line['socket']} socket
   * @param {import('./wire.js').Limits} limits
   * @param {() => number} receivers How many members hear what is for all.
   * @param {() => void} onGreeted Called when that HELLO is sent.
   */
  attach(session, socket, limits, receivers, onGreeted) {
    const pace = new Pace(limits, now());
    const line = { session, socket, pace, receivers, over: new AbortController() };
    this.#line = line;
    this.#greetings = [{ type: 'greeting', to: undefined }];
    this.resume();
    this.#work(line, onGreeted);
  }

  /** The connection is gone: what was sent and not confirmed is not known. */
  detach() {
    this.#line?.over.abort();
    this.#line = null;
    this.#greetings = [];
    const lost = [...this.#pending.values()];
    this.#pending.clear();
    for (const sent of lost) {
      if (sent.type === 'message') this.#settle(sent, new LethewireError('unconfirmed'));
    }
    this.#jobs.unshift(...this.#again.splice(0));
    for (const job of this.#jobs.filter((waiting) => waiting.volatile)) this.#finish(job);
    this.#jobs = this.#jobs.filter((waiting) => !waiting.volatile);
    this.#wake();
  }

  /** Nothing will be sent any more. */
  close() {
    this.#isClosed = true;
    this.detach();
    for (const job of this.#jobs.splice(0)) this.#fail(job, new LethewireError('closed'));
    this.#tellDrained();
  }

  /**
   * The relay has accepted what a reference stands for.
   *
   * @param {number} ref
   * @param {number} seq
   */
  acked(ref, seq) {
    const sent = this.#pending.get(ref);
    this.#pending.delete(ref);
    if (sent?.type === 'message') this.#settle(sent, seq);
  }

  /**
   * The relay has refused what a reference stands for, or only complains about it.
   *
   * @param {number | null} ref
   * @param {string} code
   * @param {number} retryAfterMs
   * @returns {boolean} Whether somebody waited for it, so that nobody else need be told.
   */
  refused(ref, code, retryAfterMs) {
    const sent = ref === null ? undefined : this.#pending.get(ref);
    if (sent === undefined || ref === null || code === DELIVERED) return false;
    this.#pending.delete(ref);
    if (sent.type === 'greeting') {
      if (code === 'rate_limited' || code === UNAVAILABLE) this.#greetAgain(sent, retryAfterMs);
    } else if (code === UNAVAILABLE && !sent.volatile) this.#sayAgain(sent, retryAfterMs);
    else this.#settle(sent, new LethewireError(code));
    return true;
  }

  /** @returns {Promise<void>} When nothing waits, or nothing will be sent any more. */
  drained() {
    return new Promise((resolve) => {
      this.#drained.push(resolve);
      this.#wake();
      if (this.#line === null) this.#tellDrained();
    });
  }

  /**
   * @param {Line} line
   * @param {() => void} onGreeted
   */
  async #work(line, onGreeted) {
    let isFirst = true;
    while (!line.over.signal.aborted) {
      const isNewSid = await line.session.rekeyIfDue(now());
      if (line.over.signal.aborted) return;
      if (isNewSid) this.#greetings.unshift({ type: 'greeting', to: undefined });
      const greeting = this.#greetings.shift();
      const job = greeting ? undefined : (this.#again.shift() ?? this.#jobs.shift());
      if (greeting) await this.#sendGreeting(line, greeting);
      else if (job) await this.#sendJob(line, job);
      else await this.#sleep(line);
      if (isFirst && !line.over.signal.aborted) onGreeted();
      isFirst = false;
    }
  }

  /** @param {Line} line */
  async #sleep(line) {
    this.#tellDrained();
    await new Promise((resolve) => {
      this.#wake = () => resolve(undefined);
      // Something may have come in, or the connection gone, since it was last looked at.
      const waiting = this.#jobs.length + this.#again.length + this.#greetings.length;
      if (waiting > 0 || line.over.signal.aborted) this.#wake();
    });
  }

  /**
   * @param {Line} line
   * @param {Greeting} greeting
   */
  async #sendGreeting(line, greeting) {
    let payload;
    try {
      payload = await line.session.hello(greeting.to, now());
    } catch {
      return; // It left; so there is nobody to greet.
    }
    if (!(await this.#mayGo(line, payload.length, greeting.to))) return;
    const ref = this.#await(greeting);
    line.socket.send(encodeFrame({ ref, to: greeting.to, ack: true, payload }));
  }

  /**
   * @param {Line} line
   * @param {Job} job
   */
  async #sendJob(line, job) {
    let payload;
    try {
      payload = await line.session.seal(job.content, job, now());
    } catch (error) {
      const known = error instanceof LethewireError ? error : new LethewireError('bug');
      return this.#fail(job, known);
    }
    if (!(await this.#mayGo(line, payload.length, job.to, job.volatile))) {
      if (this.#isClosed) this.#fail(job, new LethewireError('closed'));
      else if (job.volatile) this.#finish(job);
      else this.#jobs.unshift(job);
      return;
    }
    const { to, ack, echo, volatile } = job;
    const ref = ack ? this.#await(job) : this.#nextRef();
    line.socket.send(encodeFrame({ ref, to, ack, echo, volatile, payload }));
    this.#bytes -= job.content.data.length;
    if (!ack) job.resolve(undefined);
  }

  /**
   * Waits for the relay's limits and for the socket.
   *
   * @param {Line} line
   * @param {number} length
   * @param {string} [to] The one member it is for.
   * @param {boolean} [isVolatile] Goes now or never.
   * @returns {Promise<boolean>} Whether it may go; the connection may have ended.
   */
  async #mayGo(line, length, to, isVolatile = false) {
    for (;;) {
      if (line.over.signal.aborted) return false;
      const copies = to === undefined ? line.receivers() : 1;
      const wait = this.#held(line) || line.pace.take(length, copies, now());
      if (wait === 0) return true;
      if (isVolatile) return false;
      await delay(wait, line.over.signal);
    }
  }

  /**
   * @param {Line} line
   * @returns {number} When to look again whether something may go; 0: now.
   */
  #held(line) {
    if (this.#isPaused) return PAUSED_POLL_MS;
    if (line.socket.bufferedAmount > BUFFERED_MAX) return BUFFERED_POLL_MS;
    return Math.max(0, this.#heldUntil - now());
  }

  /**
   * Queues a message again that the relay could not take, behind those that it refused before.
   *
   * @param {Job} job
   * @param {number} retryAfterMs
   */
  #sayAgain(job, retryAfterMs) {
    this.#heldUntil = Math.max(this.#heldUntil, now() + retryAfterMs);
    this.#bytes += job.content.data.length;
    this.#again.push(job);
    this.#wake();
  }

  /**
   * @param {Greeting} greeting
   * @param {number} retryAfterMs
   */
  async #greetAgain(greeting, retryAfterMs) {
    const line = this.#line;
    if (line === null) return;
    await delay(retryAfterMs, line.over.signal);
    if (line !== this.#line) return;
    this.#greetings.push(greeting);
    this.#wake();
  }

  /** @param {Job | Greeting} sent */
  #await(sent) {
    const ref = this.#nextRef();
    // A relay that answers nothing must not use up all references.
    if (sent.type === 'message' || this.#pending.size < PENDING_MAX) this.#pending.set(ref, sent);
    return ref;
  }

  #nextRef() {
    this.#ref = refAfter(this.#ref, this.#pending);
    return this.#ref;
  }

  /**
   * Ends the wait for an answer.
   *
   * @param {Job} job
   * @param {number | LethewireError} answer
   */
  #settle(job, answer) {
    this.#acksAwaited -= 1;
    if (answer instanceof LethewireError) job.reject(answer);
    else job.resolve(answer);
  }

  /**
   * Gives up a job that was not sent.
   *
   * @param {Job} job
   * @param {LethewireError} error
   */
  #fail(job, error) {
    this.#bytes -= job.content.data.length;
    if (job.ack) this.#acksAwaited -= 1;
    job.reject(error);
  }

  /** @param {Job} job Volatile, and not sent. */
  #finish(job) {
    this.#bytes -= job.content.data.length;
    if (job.ack) this.#acksAwaited -= 1;
    job.resolve(undefined);
  }

  #tellDrained() {
    for (const tell of this.#drained.splice(0)) tell();
  }
}

/**
 * The next reference that is free: 1 to 65535, and around. Far fewer are pending than there are.
 *
 * @param {number} ref The last one.
 * @param {{ has(ref: number): boolean }} pending
 * @returns {number}
 */
export function refAfter(ref, pending) {
  let next = ref;
  do next = next >= REF_MAX ? 1 : next + 1;
  while (pending.has(next));
  return next;
}
