/**
 * Sizes: what goes to the relay has one of a few sizes, so that a size says little.
 *
 * ISO/IEC 7816-4: the byte 0x80, then zeros. The padding is inside the encryption; the buckets are
 * sizes of the whole payload as the relay sees it, head and tag included. The relay announces them,
 * but it is the one that sizes are hidden from: a list that hides too little is not used.
 */

/** @typedef {import('./bytes.js').Bytes} Bytes */

const MARK = 0x80;

/** What is used when the relay announces nothing useful. */
const BUCKETS = [256, 1024, 4096, 16384, 65536];
/** A list may have this many sizes, each at least twice the one before. */
const BUCKETS_MAX = 16;
const STEP_MIN = 2;
/** The most that the protocol allows. */
const PAYLOAD_BYTES_MAX = 1024 * 1024;

/**
 * The sizes that payloads may have: ascending, in bytes.
 *
 * @typedef {readonly number[]} Sizes
 */

/**
 * Decides on sizes.
 *
 * @param {readonly number[]} announced Ascending, in bytes.
 * @param {number} payloadBytes The relay's limit.
 * @returns {Sizes}
 */
export function sizesOf(announced, payloadBytes) {
  const limit = Math.min(payloadBytes, PAYLOAD_BYTES_MAX);
  const isCoarse =
    announced.length <= BUCKETS_MAX &&
    announced.every((size, at) => at === 0 || size >= STEP_MIN * (announced[at - 1] ?? 0));
  const useful = isCoarse ? announced.filter((size) => size <= limit) : [];
  return useful.length > 0 ? useful : BUCKETS.filter((size) => size <= limit);
}

/**
 * The size that a payload gets.
 *
 * @param {Sizes} sizes
 * @param {number} length Without padding but with everything else, the mark's byte included.
 * @returns {number | null} `null` if it is too long for the room.
 */
export function paddedLength(sizes, length) {
  return sizes.find((size) => size >= length) ?? null;
}

/**
 * @param {Uint8Array} content
 * @param {number} length Longer than the content, in bytes.
 * @returns {Bytes}
 */
export function pad(content, length) {
  if (length <= content.length) throw new RangeError('padding takes at least one byte');
  const padded = new Uint8Array(length);
  padded.set(content);
  padded[content.length] = MARK;
  return padded;
}

/**
 * @param {Bytes} padded
 * @returns {Bytes | null} The content, a part of `padded`; `null` if there is no padding.
 */
export function unpad(padded) {
  let end = padded.length - 1;
  while (end >= 0 && padded[end] === 0) end -= 1;
  return end >= 0 && padded[end] === MARK ? padded.subarray(0, end) : null;
}
