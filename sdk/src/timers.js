/**
 * Time: the only place that reads a clock, and waiting that can be called off.
 */

/**
 * @returns {number} Milliseconds on a clock that never goes back.
 */
export function now() {
  return performance.now();
}

/** Longer waits do not exist: timers would end at once instead (24 days). */
export const WAIT_MAX_MS = 2 ** 31 - 1;

/**
 * Waits.
 *
 * @param {number} ms
 * @param {AbortSignal} signal Ends the wait early; that is not an error.
 * @returns {Promise<void>}
 */
export function delay(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, Math.min(ms, WAIT_MAX_MS));
    signal.addEventListener('abort', end);
  });
}
