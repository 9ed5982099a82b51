/**
 * Randomness for property tests, from a seed that a failure can be repeated with: `SEED=… npm test`.
 */

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
let state = seed;

/** Said by a failing property. */
export const SEED_NOTE = `repeat with SEED=${seed}`;

/** @returns {number} From 0 to below 1. */
export function roll() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

/**
 * @param {number} below
 * @returns {number} An integer.
 */
export function below(below) {
  return Math.floor(roll() * below);
}

/**
 * @param {number} length
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function bytes(length) {
  return Uint8Array.from({ length }, () => below(256));
}
