/**
 * Messages as an async iterator, with a bounded buffer between the room and the loop.
 */

import { LethewireError } from './errors.js';

/** @typedef {import('./session.js').Message} Message */

/** Bounds of one loop's buffer. */
export const STREAM = Object.freeze({ messages: 1024, bytes: 16 * 1024 * 1024 });

/** One loop over a room's messages. @implements {AsyncIterableIterator<Message>} */
export class MessageStream {
  /** @type {{ message: Message, length: number }[]} */
  #buffer = [];
  #bytes = 0;
  /** @type {((result: IteratorResult<Message>) => void)[]} */
  #readers = [];
  #isOver = false;
  /** @type {LethewireError | null} */
  #error = null;
  #onReturn;
  #limits;

  /**
   * @param {(stream: MessageStream) => void} onReturn Called when the loop has been left.
   * @param {{ messages: number, bytes: number }} [limits]
   */
  constructor(onReturn, limits = STREAM) {
    this.#onReturn = onReturn;
    this.#limits = limits;
  }

  /**
   * @param {Message} message
   * @param {number} length In bytes.
   * @returns {boolean} Whether it fits; if not, the stream is over and its loop will be told.
   */
  push(message, length) {
    if (this.#isOver) return true;
    const reader = this.#readers.shift();
    if (reader) {
      reader({ done: false, value: message });
      return true;
    }
    if (this.#buffer.length >= this.#limits.messages || this.#bytes + length > this.#limits.bytes) {
      this.#error = new LethewireError('iterator_overflow');
      this.end();
      return false;
    }
    this.#buffer.push({ message, length });
    this.#bytes += length;
    return true;
  }

  /** The room is over: the loop ends after what is buffered. */
  end() {
    this.#isOver = true;
    for (const reader of this.#readers.splice(0)) reader({ done: true, value: undefined });
  }

  /** @returns {Promise<IteratorResult<Message>>} */
  async next() {
    const first = this.#buffer.shift();
    if (first) {
      this.#bytes -= first.length;
      return { done: false, value: first.message };
    }
    if (this.#error) {
      const error = this.#error;
      this.#error = null;
      this.#onReturn(this);
      throw error;
    }
    if (this.#isOver) return { done: true, value: undefined };
    return new Promise((resolve) => {
      this.#readers.push(resolve);
    });
  }

  /** @returns {Promise<IteratorResult<Message>>} */
  async return() {
    this.#buffer = [];
    this.#bytes = 0;
    this.end();
    this.#onReturn(this);
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}
