/**
 * One WebSocket, from the handshake to its end: greeting, sign of life, and why it ended.
 *
 * Nothing is decided here about coming back; `connection` does that. What arrives is parsed and
 * handed on in order.
 */

import { hintOf } from './close.js';
import { now, WAIT_MAX_MS } from './timers.js';
import { parseControl, parseDelivery } from './wire.js';

/** @typedef {import('./wire.js').Control} Control */
/** @typedef {import('./wire.js').Delivery} Delivery */
/** @typedef {import('./wire.js').Welcome} Welcome */

/**
 * The part of the WebSocket API that is used.
 *
 * @typedef {new (url: string, protocols: string[]) => WebSocket} WebSocketConstructor
 */

/**
 * @typedef {object} SocketHandler
 * @property {(welcome: Welcome, socket: Socket) => void} onWelcome
 * @property {(control: Control) => void} onControl
 * @property {(delivery: Delivery) => void} onDelivery
 */

/**
 * @typedef {object} SocketEnd
 * @property {number} code A close code; 1006 if the network broke.
 * @property {number} hintMs No earlier than this.
 * @property {number} openForMs From the welcome on; 0 if there was none.
 */

const PROTOCOL = 'lethewire.v1';
const BEARER = 'lethewire.bearer.';
const WELCOME_TIMEOUT_MS = 15_000;

/** Local names for ends that come without a close frame. */
const BROKEN = 1006;
const NOT_UNDERSTOOD = 1002;
const RESTART = 1012;
const HEARTBEAT_LOST = 4203;

/** One connection to the relay. */
export class Socket {
  /** @type {Promise<SocketEnd>} Always resolves. */
  ended;
  /** @type {(end: SocketEnd) => void} */
  #resolve = () => {};
  #socket;
  #handler;
  /** @type {ReturnType<typeof setTimeout>[]} */
  #timers = [];
  #isOver = false;
  #isMoving = false;
  #welcomedAt = 0;
  #heardAt = 0;
  #pingedAt = 0;

  /**
   * @param {WebSocketConstructor} WebSocket
   * @param {import('./api.js').Grant} grant
   * @param {SocketHandler} handler
   */
  constructor(WebSocket, { ws, token }, handler) {
    this.#handler = handler;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    const socket = new WebSocket(ws, [PROTOCOL, BEARER + token]);
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#end(code, hintOf(reason));
    // A close always follows; without a listener some implementations throw.
    socket.onerror = () => {};
    this.#timers.push(setTimeout(() => this.#abandon(BROKEN), WELCOME_TIMEOUT_MS));
  }

  /** Bytes that were sent but are still here. */
  get bufferedAmount() {
    return this.#socket.bufferedAmount;
  }

  /**
   * Sends a frame; does nothing on a connection that is over.
   *
   * @param {import('./bytes.js').Bytes} frame
   */
  send(frame) {
    if (!this.#isOver) this.#socket.send(frame);
  }

  /** Says goodbye. */
  leave() {
    this.#say({ type: 'leave' });
    this.#abandon(1000);
  }

  /**
   * Lets go of the connection, without waiting for the other side.
   *
   * @param {number} code Why, as the own code of `ended`.
   */
  drop(code) {
    this.#abandon(code);
  }

  /** @param {unknown} data */
  #receive(data) {
    if (this.#isOver) return;
    this.#heardAt = now();
    this.#pingedAt = 0;
    if (data instanceof ArrayBuffer) return this.#receiveBytes(data);
    const control = typeof data === 'string' ? parseControl(data) : null;
    if (control === null) return this.#abandon(NOT_UNDERSTOOD);
    if (control === 'unknown') return;
    if (control.type === 'welcome') return this.#receiveWelcome(control);
    // In a room of nobody there is no order: what comes before the welcome is not for us.
    if (this.#welcomedAt === 0) return this.#abandon(NOT_UNDERSTOOD);
    if (control.type === 'drain') this.#moveAfter(control.reconnectAfterMs);
    this.#handler.onControl(control);
  }

  /** @param {ArrayBuffer} data */
  #receiveBytes(data) {
    const delivery = parseDelivery(data);
    if (delivery === null || this.#welcomedAt === 0) return this.#abandon(NOT_UNDERSTOOD);
    this.#handler.onDelivery(delivery);
  }

  /** @param {Welcome} welcome */
  #receiveWelcome(welcome) {
    const isFirst = this.#welcomedAt === 0;
    if (!isFirst || this.#socket.protocol !== PROTOCOL) return this.#abandon(NOT_UNDERSTOOD);
    this.#clearTimers();
    this.#welcomedAt = now();
    const heartbeatMs = welcome.limits.heartbeat_s * 1000;
    this.#timers.push(setInterval(() => this.#checkLife(heartbeatMs), heartbeatMs / 2));
    this.#handler.onWelcome(welcome, this);
  }

  /**
   * Scripts do not see the relay's pings: ask for a sign of life when it has been silent for two of
   * them, and give it the time of one to answer.
   *
   * @param {number} heartbeatMs
   */
  #checkLife(heartbeatMs) {
    const time = now();
    if (this.#pingedAt > 0 && time - this.#pingedAt >= heartbeatMs) {
      this.#abandon(HEARTBEAT_LOST);
    } else if (this.#pingedAt === 0 && time - this.#heardAt >= 2 * heartbeatMs) {
      this.#pingedAt = time;
      this.#say({ type: 'ping', n: 1 });
    }
  }

  /**
   * The relay wants its clients to go elsewhere, each at its own time.
   *
   * @param {number} ms
   */
  #moveAfter(ms) {
    if (this.#isMoving) return;
    this.#isMoving = true;
    this.#timers.push(setTimeout(() => this.#abandon(RESTART), Math.min(ms, WAIT_MAX_MS)));
  }

  /** @param {object} control */
  #say(control) {
    if (!this.#isOver && this.#socket.readyState === 1) this.#socket.send(JSON.stringify(control));
  }

  /** @param {number} code */
  #abandon(code) {
    if (this.#isOver) return;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close(1000);
    this.#end(code, 0);
  }

  /**
   * @param {number} code
   * @param {number} hintMs
   */
  #end(code, hintMs) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#clearTimers();
    const openForMs = this.#welcomedAt === 0 ? 0 : Math.max(1, now() - this.#welcomedAt);
    this.#resolve({ code, hintMs, openForMs });
  }

  #clearTimers() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
  }
}
