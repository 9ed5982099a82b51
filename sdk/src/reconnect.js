/**
 * What follows when a connection has ended: stop, or come back after which wait.
 *
 * Pure but for the dice. The range of a close code is the advice (`close`); waits have full jitter,
 * so that a thousand clients of a relay that went away do not come back in the same moment.
 */

/** Bounds of the wait. */
const BASE_MS = 500;
const CAP_MS = 30_000;
/** A connection that lived this long was a good one: begin to count anew. */
const GOOD_MS = 10_000;
/** Immediate retries with a fresh token. */
const FRESH_TOKENS_MAX = 1;

/**
 * @typedef {object} Ended
 * @property {import('./close.js').Advice} advice
 * @property {number} hintMs No earlier than this.
 * @property {number} openForMs How long the connection was open; 0 if it never was.
 */

/** Remembers how often it went wrong. */
export class Reconnect {
  #failures = 0;
  #freshTokens = 0;
  #random;

  /** @param {() => number} [random] From 0 to below 1. */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /**
   * @param {Ended} ended
   * @returns {number | null} Milliseconds to wait; `null`: stop.
   */
  next({ advice, hintMs, openForMs }) {
    if (openForMs >= GOOD_MS) {
      this.#failures = 0;
      this.#freshTokens = 0;
    }
    if (advice === 'stop') return null;
    if (advice === 'fresh_token') {
      if (this.#freshTokens >= FRESH_TOKENS_MAX) return null;
      this.#freshTokens += 1;
      return 0;
    }
    const span = Math.min(CAP_MS, BASE_MS * 2 ** this.#failures);
    this.#failures += 1;
    return Math.round(hintMs + this.#random() * span);
  }
}
