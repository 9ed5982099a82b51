/**
 * Not faster than the relay allows: its token buckets, kept on this side as well.
 *
 * A little below them, because what leaves evenly may arrive in a bunch, and every refusal is a lost
 * message.
 */

/** Of what the relay allows at once. */
const BURST_SHARE = 0.8;
/** Of what the relay allows in the long run. */
const RATE_SHARE = 0.9;

/** One bucket, refilled continuously. */
class Bucket {
  #capacity;
  #perMs;
  #level;
  #at;

  /**
   * @param {[number, number]} rate Amount and seconds.
   * @param {number} now In milliseconds.
   */
  constructor([amount, seconds], now) {
    this.#capacity = amount * BURST_SHARE;
    this.#perMs = (amount * RATE_SHARE) / (seconds * 1000);
    this.#level = this.#capacity;
    this.#at = now;
  }

  /**
   * @param {number} amount
   * @param {number} now
   * @returns {number} Milliseconds until it can be taken; 0: now.
   */
  waitFor(amount, now) {
    this.#level = Math.min(this.#capacity, this.#level + (now - this.#at) * this.#perMs);
    this.#at = now;
    // What is larger than the bucket needs a full one.
    const lacking = Math.min(amount, this.#capacity) - this.#level;
    return lacking > 0 ? Math.ceil(lacking / this.#perMs) : 0;
  }

  /** @param {number} amount */
  take(amount) {
    this.#level -= amount;
  }
}

/** The limits of one connection. */
export class Pace {
  #messages;
  #bytes;
  #fanout;

  /**
   * @param {import('./wire.js').Limits} limits
   * @param {number} now In milliseconds.
   */
  constructor({ messages, bytes, fanout }, now) {
    this.#messages = new Bucket(messages, now);
    this.#bytes = new Bucket(bytes, now);
    this.#fanout = fanout && new Bucket(fanout, now);
  }

  /**
   * Takes one message, if it may go.
   *
   * @param {number} length Of its payload, in bytes.
   * @param {number} copies How many members receive it.
   * @param {number} now In milliseconds.
   * @returns {number} 0 if it was taken; else the milliseconds to wait before asking again.
   */
  take(length, copies, now) {
    const wait = Math.max(
      this.#messages.waitFor(1, now),
      this.#bytes.waitFor(length, now),
      this.#fanout?.waitFor(length * copies, now) ?? 0,
    );
    if (wait === 0) {
      this.#messages.take(1);
      this.#bytes.take(length);
      this.#fanout?.take(length * copies);
    }
    return wait;
  }
}
