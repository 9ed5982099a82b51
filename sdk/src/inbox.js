/**
 * What has arrived and waits its turn: one thing at a time, in order, in a bounded space.
 *
 * Opening a frame takes several asynchronous steps; without this queue a later frame could overtake
 * an earlier one. A WebSocket cannot be told to wait, so a full inbox is the end of the connection:
 * a member that misses a message is worse off than one that reconnects and knows it.
 */

/** Bounds of what waits. */
export const INBOX = Object.freeze({ items: 4096, bytes: 16 * 1024 * 1024 });

/**
 * A queue with one reader.
 *
 * @template T
 */
export class Inbox {
  /** @type {{ item: T, length: number }[]} */
  #waiting = [];
  #bytes = 0;
  #isBusy = false;
  #isStopped = false;
  #handle;
  #onFull;
  #limits;

  /**
   * @param {(item: T) => Promise<void>} handle Never called twice at the same time.
   * @param {() => void} onFull Called once, when something did not fit; the inbox has stopped.
   * @param {{ items: number, bytes: number }} [limits]
   */
  constructor(handle, onFull, limits = INBOX) {
    this.#handle = handle;
    this.#onFull = onFull;
    this.#limits = limits;
  }

  /**
   * @param {T} item
   * @param {number} length In bytes.
   * @param {boolean} [isVolatile] Dropped when the inbox is half full.
   */
  push(item, length, isVolatile = false) {
    if (this.#isStopped) return;
    const items = this.#waiting.length + 1;
    const bytes = this.#bytes + length;
    const share = isVolatile ? 0.5 : 1;
    if (items > this.#limits.items * share || bytes > this.#limits.bytes * share) {
      if (isVolatile) return;
      this.stop();
      this.#onFull();
      return;
    }
    this.#waiting.push({ item, length });
    this.#bytes = bytes;
    if (!this.#isBusy) this.#work();
  }

  /** Forgets what waits and takes nothing more. */
  stop() {
    this.#isStopped = true;
    this.#waiting = [];
    this.#bytes = 0;
  }

  async #work() {
    this.#isBusy = true;
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      this.#bytes -= next.length;
      await this.#handle(next.item);
    }
    this.#isBusy = false;
  }
}
