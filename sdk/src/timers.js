/**
 * Time: the only place that reads a clock, and waiting that can be called off.
 */

/**
 * @returns {number} Milliseconds on a clock that never goes back.
 */
export function now() {
  return performance.now();
}

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
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
