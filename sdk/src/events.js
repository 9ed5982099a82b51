/**
 * Events with types: what a room tells, and in which form.
 */

import { LethewireError, textOf } from './errors.js';
import { MessageStream } from './stream.js';

/** @typedef {import('./session.js').Message} Message */
/** @typedef {'connecting' | 'open' | 'paused' | 'reconnecting' | 'closed'} State */

/**
 * What the `detail` of each event is.
 *
 * @typedef {object} RoomEvents
 * @property {Message} message
 * @property {{ member: string }} join
 * @property {{ member: string }} verified
 * @property {{ member: string, why: 'left' | 'lost' | 'kicked' }} leave
 * @property {{ from: number, to: number }} gap
 * @property {{ epoch: string, seq: number }} reset
 * @property {{ state: State, reason: string, message: string, retryInMs: number }} state
 * @property {{ locked: boolean }} room
 * @property {{ code: string, message: string, member?: string, count?: number }} error
 */

/**
 * @template {keyof RoomEvents} K
 * @typedef {((event: CustomEvent<RoomEvents[K]>) => void) | EventListenerObject | null} Listener
 */

/** Loops over a room at the same time. */
const STREAMS_MAX = 16;

/** The listening side of a room. */
export class RoomTarget extends EventTarget {
  /** @type {Set<MessageStream>} */
  #streams = new Set();
  #isOver = false;

  /**
   * @template {keyof RoomEvents} K
   * @param {K} type
   * @param {Listener<K>} listener
   * @param {boolean | AddEventListenerOptions} [options]
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, /** @type {EventListener | null} */ (listener), options);
  }

  /**
   * @template {keyof RoomEvents} K
   * @param {K} type
   * @param {Listener<K>} listener
   * @param {boolean | EventListenerOptions} [options]
   */
  removeEventListener(type, listener, options) {
    super.removeEventListener(type, /** @type {EventListener | null} */ (listener), options);
  }

  /**
   * Messages from here on, until the room is over.
   *
   * @returns {MessageStream}
   */
  [Symbol.asyncIterator]() {
    if (this.#streams.size >= STREAMS_MAX) {
      throw new LethewireError('bad_argument', 'There are too many loops over this room.');
    }
    const stream = new MessageStream((over) => this.#streams.delete(over));
    if (this.#isOver) stream.end();
    else this.#streams.add(stream);
    return stream;
  }

  /**
   * @protected
   * @template {keyof RoomEvents} K
   * @param {K} type
   * @param {RoomEvents[K]} detail
   */
  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /**
   * Tells of something that was refused, lost or dropped.
   *
   * @protected
   * @param {string} code
   * @param {{ member?: string, count?: number }} [more]
   */
  emitProblem(code, more = {}) {
    this.emit('error', { code, message: textOf(code), ...more });
  }

  /**
   * Tells of a message, and hands it to all loops.
   *
   * @protected
   * @param {Message} message
   * @param {number} length In bytes.
   */
  emitMessage(message, length) {
    for (const stream of this.#streams) {
      if (stream.push(message, length)) continue;
      this.#streams.delete(stream);
      this.emitProblem('iterator_overflow');
    }
    this.emit('message', message);
  }

  /** Ends all loops. @protected */
  endStreams() {
    this.#isOver = true;
    for (const stream of this.#streams) stream.end();
    this.#streams.clear();
  }
}
