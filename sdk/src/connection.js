/**
 * The way to the relay: a token, a WebSocket, and another one when it ends.
 *
 * Owns the cycle and the waits. A room that the relay has forgotten is restored on the way: any
 * member can, because the room is its own certificate.
 */

import { CallError } from './api.js';
import { adviceOf, nameOf } from './close.js';
import { Reconnect } from './reconnect.js';
import { Socket } from './socket.js';
import { delay } from './timers.js';

/** @typedef {import('./api.js').Api} Api */
/** @typedef {import('./api.js').Grant} Grant */
/** @typedef {import('./socket.js').SocketHandler} SocketHandler */

/**
 * @typedef {object} ConnectionEvents
 * @property {(reason: string) => void} onDown A connection ended that had been welcomed.
 * @property {(reason: string, retryInMs: number) => void} onRetry 0: the next attempt begins.
 * @property {(reason: string) => void} onStop It is over.
 */

/** @typedef {SocketHandler & ConnectionEvents} ConnectionHandler */

/**
 * How an attempt ended.
 *
 * @typedef {import('./reconnect.js').Ended & { reason: string }} Outcome
 */

/** Keeps a room connected. */
export class Connection {
  #api;
  #WebSocket;
  #options;
  #handler;
  #reconnect;
  /** Whether the room is yet to be made. */
  #isNew;
  /** @type {Socket | null} */
  #socket = null;
  #stop = new AbortController();

  /**
   * @param {object} parts
   * @param {Api} parts.api
   * @param {import('./socket.js').WebSocketConstructor} parts.WebSocket
   * @param {boolean} parts.isNew
   * @param {import('./api.js').RoomOptions | undefined} parts.options
   * @param {ConnectionHandler} parts.handler
   * @param {Reconnect} [parts.reconnect]
   */
  constructor({ api, WebSocket, isNew, options, handler, reconnect = new Reconnect() }) {
    this.#api = api;
    this.#WebSocket = WebSocket;
    this.#isNew = isNew;
    this.#options = options;
    this.#handler = handler;
    this.#reconnect = reconnect;
  }

  /** Connects, again and again. @returns {Promise<void>} When it is over. */
  async run() {
    for (;;) {
      const outcome = await this.#attempt();
      if (this.#stop.signal.aborted) return this.#handler.onStop('left');
      const waitMs = this.#reconnect.next(outcome);
      if (waitMs === null) return this.#handler.onStop(outcome.reason);
      this.#handler.onRetry(outcome.reason, waitMs);
      await this.#wait(waitMs, outcome);
      if (this.#stop.signal.aborted) return this.#handler.onStop('left');
      this.#handler.onRetry(outcome.reason, 0);
    }
  }

  /** Ends for good, with a goodbye if there is somebody to say it to. */
  leave() {
    this.#stop.abort();
    this.#socket?.leave();
  }

  /**
   * Gives up the connection and makes another.
   *
   * @param {number} code Why, as if the relay had said it.
   */
  drop(code) {
    this.#socket?.drop(code);
  }

  /** @returns {Promise<Outcome>} */
  async #attempt() {
    /** @type {Socket} */
    let socket;
    try {
      const grant = await this.#grant();
      if (this.#stop.signal.aborted) return { ...STOPPED };
      socket = new Socket(this.#WebSocket, grant, this.#handler);
    } catch (error) {
      if (!(error instanceof CallError)) return { ...STOPPED, reason: 'bad_answer' };
      const advice = error.isPassing ? 'backoff' : 'stop';
      return { reason: error.code, advice, hintMs: error.retryAfterMs, openForMs: 0 };
    }
    this.#socket = socket;
    const { code, hintMs, openForMs } = await socket.ended;
    this.#socket = null;
    const reason = nameOf(code);
    if (openForMs > 0) this.#handler.onDown(reason);
    return { reason, advice: adviceOf(code), hintMs, openForMs };
  }

  /** @returns {Promise<Grant>} */
  async #grant() {
    if (!this.#isNew) {
      try {
        return await this.#api.createToken();
      } catch (error) {
        // Forgotten by the relay, or not yet known to it.
        if (!(error instanceof CallError) || error.code !== 'admission_failed') throw error;
      }
    }
    const grant = await this.#api.createRoom(this.#options);
    this.#isNew = false;
    return grant;
  }

  /**
   * @param {number} ms
   * @param {Outcome} outcome
   */
  async #wait(ms, { reason, hintMs }) {
    const early = new AbortController();
    const wake = () => early.abort();
    const mayHurry = reason === 'network' && hintMs === 0;
    if (mayHurry) globalThis.addEventListener?.('online', wake);
    await delay(ms, AbortSignal.any([this.#stop.signal, early.signal]));
    globalThis.removeEventListener?.('online', wake);
  }
}

/** @type {Outcome} */
const STOPPED = { reason: 'left', advice: 'stop', hintMs: 0, openForMs: 0 };
