/**
 * The replay window: which counters of a sid have been seen.
 *
 * 64 wide (the order of RFC 6479): volatile frames may overtake others, by not more than this.
 */

const WIDTH = 64;

/** Remembers the counters of one sid. */
export class ReplayWindow {
  /** Highest counter seen; -1: none. */
  #highest = -1;
  /** Bit n: `highest - n` was seen. */
  #seen = 0n;
  #floor;

  /** @param {number} floor Counters below it count as seen. */
  constructor(floor) {
    this.#floor = floor;
  }

  /**
   * Whether a counter is new. Changes nothing: a forged frame must not use up a counter.
   *
   * @param {number} counter
   * @returns {boolean}
   */
  accepts(counter) {
    if (counter < this.#floor) return false;
    if (counter > this.#highest) return true;
    const age = this.#highest - counter;
    return age < WIDTH && (this.#seen & (1n << BigInt(age))) === 0n;
  }

  /**
   * Marks a counter that `accepts` and whose frame was authentic.
   *
   * @param {number} counter
   */
  mark(counter) {
    if (counter > this.#highest) {
      const step = this.#highest < 0 ? WIDTH : counter - this.#highest;
      const shifted = step >= WIDTH ? 0n : this.#seen << BigInt(step);
      this.#seen = BigInt.asUintN(WIDTH, shifted | 1n);
      this.#highest = counter;
    } else {
      this.#seen |= 1n << BigInt(this.#highest - counter);
    }
  }

  /** @param {number} floor Counters below it count as seen from here on; never goes down. */
  raise(floor) {
    this.#floor = Math.max(this.#floor, floor);
  }
}
