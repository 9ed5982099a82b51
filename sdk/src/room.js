/**
 * A room, as applications see it: joins, messages and states come out, calls go in.
 *
 * This is where the parts meet and where events are made; every decision is in one of the parts.
 */

import { Connection } from './connection.js';
import { LethewireError, textOf } from './errors.js';
import { RoomTarget } from './events.js';
import { BODY_HEAD_MAX, contentOf } from './message.js';
import { Outbox } from './outbox.js';
import { sizesOf } from './padding.js';
import { Roster } from './roster.js';
import { EPOCH } from './sender.js';
import { Session } from './session.js';
import { delay, now } from './timers.js';
import { verificationOf } from './verify.js';
import { Visit } from './visit.js';
import { isMember, MEMBERS_MAX } from './wire.js';

/** @typedef {import('./session.js').Effect} Effect */
/** @typedef {import('./socket.js').Socket} Socket */
/** @typedef {import('./wire.js').Control} Control */
/** @typedef {import('./wire.js').Welcome} Welcome */
/** @typedef {import('./events.js').State} State */

/**
 * What a room is made of; made by `createRoom` and `joinRoom`.
 *
 * @typedef {object} RoomParts
 * @property {string} link
 * @property {string} ownerSecret
 * @property {import('./link.js').Certificate} certificate
 * @property {import('./api.js').Api} api
 * @property {import('./socket.js').WebSocketConstructor} WebSocket
 * @property {boolean} isNew
 * @property {import('./api.js').RoomOptions | undefined} options
 * @property {{ frames: number, ms: number }} [rekey]
 */

/** Longest goodbye. */
const LEAVE_MS = 2000;
/** Close codes that we say to ourselves. */
const PROTOCOL = 1002;
const BUG = 1011;
const SLOW_CONSUMER = 4200;

/** A room, and this member's place in it. */
export class Room extends RoomTarget {
  /** @type {Promise<void>} Of the first `open`; rejects if the room closes before. */
  ready;
  #parts;
  #connection;
  #outbox = new Outbox();
  #roster = new Roster();
  /** @type {State} */
  #state = 'connecting';
  #self = '';
  #locked = false;
  #bytesMax = 0;
  /** @type {Visit | null} */
  #visit = null;
  /** The last number heard. @type {{ epoch: string, seq: number } | null} */
  #position = null;
  #isReady = () => {};
  /** @type {(error: LethewireError) => void} */
  #isNotReady = () => {};
  #onSettled = () => {};

  /** @param {RoomParts} parts */
  constructor(parts) {
    super();
    this.#parts = parts;
    this.ready = new Promise((resolve, reject) => {
      this.#isReady = resolve;
      this.#isNotReady = reject;
    });
    // Not everybody waits for it.
    this.ready.catch(() => {});
    this.#connection = new Connection({
      ...parts,
      handler: {
        onWelcome: (welcome, socket) => this.#begin(welcome, socket),
        onControl: (control) => this.#visit?.control(control),
        onDelivery: (delivery) => this.#visit?.deliver(delivery),
        onDown: () => this.#down(),
        onRetry: (reason, retryInMs) => this.#setState('reconnecting', reason, retryInMs),
        onStop: (reason) => this.#finish(reason),
      },
    });
    this.#connection.run();
  }

  /** Where the connection stands. */
  get state() {
    return this.#state;
  }

  /** This connection's member id; `''` before the first `open`. */
  get self() {
    return this.#self;
  }

  /** The other members, by id. @returns {ReadonlyMap<string, import('./roster.js').Member>} */
  get members() {
    return this.#roster.members;
  }

  /** The link, with the secret: whoever has it can join and read. */
  get link() {
    return this.#parts.link;
  }

  /** The owner's secret as text, or `''`. */
  get ownerSecret() {
    return this.#parts.ownerSecret;
  }

  /** Whether the room takes no new members. */
  get locked() {
    return this.#locked;
  }

  /** Most bytes that one message takes; 0 before the first `open`. */
  get bytesMax() {
    return this.#bytesMax;
  }

  /**
   * Says something to all other members.
   *
   * @param {unknown} data Bytes, text, or what has a JSON form.
   * @param {{ ack?: boolean, echo?: boolean, volatile?: boolean }} [how]
   * @returns {Promise<number | undefined>} With `ack` its number, once the relay has ordered it.
   */
  async send(data, { ack, echo, volatile } = {}) {
    return this.#say(data, { ack: ack === true, echo: echo === true, volatile: volatile === true });
  }

  /**
   * Says something to one member.
   *
   * @param {string} member
   * @param {unknown} data Bytes, text, or what has a JSON form.
   * @param {{ ack?: boolean, volatile?: boolean }} [how]
   * @returns {Promise<number | undefined>} With `ack` the room's number at that moment.
   */
  async sendTo(member, data, { ack, volatile } = {}) {
    if (!this.#roster.members.has(member)) throw new LethewireError('no_such_member');
    return this.#say(data, { to: member, ack: ack === true, volatile: volatile === true });
  }

  /** Says what is queued, then goodbye. @returns {Promise<void>} After 2 s at most. */
  async leave() {
    if (this.#state === 'open') {
      const timer = new AbortController();
      await Promise.race([this.#settle(), delay(LEAVE_MS, timer.signal)]);
      timer.abort();
    }
    this.#connection.leave();
    this.#finish('left');
  }

  /**
   * What to compare with the other members, over another channel.
   *
   * @returns {Promise<import('./verify.js').Verification>}
   */
  async verification() {
    const session = this.#visit?.session;
    if (!session) throw new LethewireError('not_open');
    return verificationOf(this.#parts.certificate.room, EPOCH, session.signPublics());
  }

  /** The owner lets nobody in any more. */
  async lock() {
    await this.#parts.api.own('lock');
  }

  /** The owner lets members in again. */
  async unlock() {
    await this.#parts.api.own('unlock');
  }

  /**
   * The owner removes a member; with the link it can come back, unless the room is locked.
   *
   * @param {string} member
   */
  async kick(member) {
    if (!isMember(member)) throw new LethewireError('no_such_member');
    await this.#parts.api.own('kick', member);
  }

  /** The owner ends the room for everybody. */
  async close() {
    await this.#parts.api.own('close');
  }

  /**
   * @param {unknown} data
   * @param {{ to?: string, ack: boolean, echo?: boolean, volatile: boolean }} how
   */
  async #say(data, how) {
    const content = contentOf(data);
    const { length } = content.data;
    if (this.#bytesMax > 0 && length > this.#bytesMax) {
      const text = `The message has ${length} bytes; this room takes at most ${this.#bytesMax}.`;
      throw new LethewireError('too_large', text);
    }
    return this.#outbox.say(content, how);
  }

  /** When everything queued is said, and everybody who is there can open it. */
  async #settle() {
    while (this.#visit?.session?.isSettled === false) {
      await new Promise((resolve) => {
        this.#onSettled = () => resolve(undefined);
      });
    }
    await this.#outbox.drained();
  }

  /**
   * @param {Welcome} welcome
   * @param {Socket} socket
   */
  #begin(welcome, socket) {
    const present = welcome.members.filter((id) => !this.#roster.isOwn(id));
    const createSession = () =>
      Session.create({
        room: this.#parts.certificate.room,
        epochKey: this.#parts.certificate.epochKey,
        self: welcome.member,
        members: present,
        sizes: sizesOf(welcome.padding, welcome.limits.payload_bytes),
        now: now(),
        rekey: this.#parts.rekey,
      });
    this.#visit = new Visit(createSession, {
      onReady: (session) => this.#enter(session, welcome, present, socket),
      onControl: (control, session) => this.#handleControl(control, session),
      onDelivery: ({ seq }) => this.#advance(seq),
      onEffects: (effects) => this.#apply(effects),
      onBroken: (code) => {
        this.emitProblem(code);
        this.#connection.drop(code === 'bug' ? BUG : SLOW_CONSUMER);
      },
    });
  }

  /** The connection is gone, and with it all keys. */
  #down() {
    this.#visit?.end();
    this.#visit = null;
    this.#roster.unverify();
    this.#outbox.detach();
    this.#onSettled();
  }

  /** @param {string} reason */
  #finish(reason) {
    if (this.#state === 'closed') return;
    this.#down();
    this.#outbox.close();
    this.#setState('closed', reason);
    this.endStreams();
    this.#isNotReady(new LethewireError(reason));
  }

  /**
   * @param {Session} session
   * @param {Welcome} welcome
   * @param {string[]} present
   * @param {Socket} socket
   */
  #enter(session, { member, members, epoch, seq, locked, limits }, present, socket) {
    const isFirst = this.#self === '';
    // Our own numbers since the last one: this join, and the leave if the relay has noticed it.
    const ownNumbers = members.includes(this.#self) ? 1 : 2;
    this.#self = member;
    this.#bytesMax = Math.max(0, session.bodyLengthMax - BODY_HEAD_MAX);
    const { joined, left } = this.#roster.enter(member, present);
    if (!isFirst) {
      for (const id of left) this.emit('leave', { member: id, why: 'lost' });
      for (const id of joined) this.emit('join', { member: id });
    }
    this.#setLocked(locked);
    this.#resume(epoch, seq, ownNumbers);
    const receivers = () => this.#roster.members.size;
    this.#outbox.attach(session, socket, limits, receivers, () => {
      this.#setState('open', '');
      this.#isReady();
    });
  }

  /**
   * Says what was missed while we were away.
   *
   * @param {string} epoch
   * @param {number} seq
   * @param {number} ownNumbers
   */
  #resume(epoch, seq, ownNumbers) {
    const before = this.#position;
    this.#position = { epoch, seq };
    if (before === null) return;
    if (before.epoch !== epoch) this.emit('reset', { epoch, seq });
    else if (seq - before.seq > ownNumbers) this.emit('gap', { from: before.seq + 1, to: seq - 1 });
  }

  /**
   * @param {Control} control
   * @param {Session} session
   */
  #handleControl(control, session) {
    switch (control.type) {
      case 'join':
        this.#advance(control.seq);
        if (this.#roster.isOwn(control.member)) return;
        if (this.#roster.members.size >= MEMBERS_MAX) return this.#connection.drop(PROTOCOL);
        session.join(control.member, now());
        this.#roster.join(control.member);
        return this.emit('join', { member: control.member });
      case 'leave':
        this.#advance(control.seq);
        this.#apply(session.leave(control.member));
        if (!this.#roster.leave(control.member)) return;
        return this.emit('leave', { member: control.member, why: control.why });
      case 'ack':
        this.#advance(control.seq);
        return this.#outbox.acked(control.ref, control.seq);
      case 'error':
        if (this.#outbox.refused(control.ref, control.code, control.retryAfterMs)) return;
        return this.emitProblem(control.code);
      case 'gap':
        this.#advance(control.to);
        if (control.members) this.#correct(control.members, session);
        return this.emit('gap', { from: control.from, to: control.to });
      case 'reset':
        this.#position = { epoch: control.epoch, seq: control.seq };
        if (control.members) {
          this.#roster.unverify();
          this.#apply(session.restart(now()));
          this.#correct(control.members, session);
        }
        return this.emit('reset', { epoch: control.epoch, seq: control.seq });
      case 'paused':
        this.#outbox.pause();
        return this.#state === 'open' ? this.#setState('paused', 'unavailable') : undefined;
      case 'resumed':
        this.#outbox.resume();
        return this.#state === 'paused' ? this.#setState('open', '') : undefined;
      case 'room':
        return this.#setLocked(control.locked);
      default:
        return;
    }
  }

  /**
   * Something was missed: who is there is said anew, and everybody who is told of us once more
   * answers what may have been lost.
   *
   * @param {string[]} present
   * @param {Session} session
   */
  #correct(present, session) {
    const { joined, left } = this.#roster.correct(present);
    for (const member of left) {
      this.#apply(session.leave(member));
      this.emit('leave', { member, why: 'lost' });
    }
    for (const member of joined) {
      session.join(member, now());
      this.emit('join', { member });
    }
    this.#outbox.announce();
  }

  /** @param {Effect[]} effects */
  #apply(effects) {
    for (const effect of effects) {
      switch (effect.type) {
        case 'message':
          this.emitMessage(effect.message, effect.length);
          break;
        case 'verified':
          this.#roster.verify(effect.member);
          this.emit('verified', { member: effect.member });
          break;
        case 'greet':
          this.#outbox.greet(effect.member);
          this.#onSettled();
          break;
        case 'problem':
          this.emitProblem(effect.code, { member: effect.member, count: effect.count });
          break;
      }
    }
  }

  /** @param {number} seq 0 for what has no number. */
  #advance(seq) {
    if (this.#position && seq > this.#position.seq) this.#position.seq = seq;
  }

  /** @param {boolean} locked */
  #setLocked(locked) {
    if (this.#locked === locked) return;
    this.#locked = locked;
    this.emit('room', { locked });
  }

  /**
   * @param {State} state
   * @param {string} reason
   * @param {number} [retryInMs]
   */
  #setState(state, reason, retryInMs = 0) {
    if (this.#state === 'closed') return;
    this.#state = state;
    const message = reason === '' ? '' : textOf(reason);
    this.emit('state', { state, reason, message, retryInMs });
  }
}
