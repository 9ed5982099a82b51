/**
 * Sizes: what goes to the relay has one of a few sizes, so that a size says little.
 *
 * ISO/IEC 7816-4: the byte 0x80, then zeros. The padding is inside the encryption; the buckets are
 * sizes of the whole payload as the relay sees it, head and tag included.
 */

/** @typedef {import('./bytes.js').Bytes} Bytes */

const MARK = 0x80;

/**
 * What a room lets a payload be.
 *
 * @typedef {object} Sizes
 * @property {readonly number[]} buckets Ascending, in bytes; empty in a room without padding.
 * @property {number} payloadMax In bytes.
 */

/**
 * The size that a payload gets.
 *
 * @param {Sizes} sizes
 * @param {number} length Without padding but with everything else, the mark's byte included.
 * @returns {number | null} `null` if it is too long for the room.
 */
export function paddedLength({ buckets, payloadMax }, length) {
  const size = buckets.length === 0 ? length : buckets.find((bucket) => bucket >= length);
  return size !== undefined && size <= payloadMax ? size : null;
}

/**
 * The longest payload that a room takes.
 *
 * @param {Sizes} sizes
 * @returns {number} In bytes, padding included; 0 if nothing fits.
 */
export function payloadLengthMax({ buckets, payloadMax }) {
  if (buckets.length === 0) return payloadMax;
  return buckets.filter((bucket) => bucket <= payloadMax).at(-1) ?? 0;
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
