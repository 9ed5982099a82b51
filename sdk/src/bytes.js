/**
 * Bytes: base64url in its one canonical spelling, big-endian integers, joining and comparing.
 *
 * Everything here is pure. Parsing returns `null` for what is not acceptable; the caller knows
 * which error that is.
 */

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/** Largest value of 48 bits. */
export const U48_MAX = 2 ** 48 - 1;

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const SEXTETS = new Map([...ALPHABET].map((letter, value) => [letter, value]));

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * @param {string} text
 * @returns {Bytes} Its UTF-8.
 */
export function utf8(text) {
  return encoder.encode(text);
}

/**
 * @param {Uint8Array} bytes
 * @returns {string | null} `null` if the bytes are not UTF-8.
 */
export function fromUtf8(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} base64url without padding.
 */
export function toBase64url(bytes) {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 6) {
      bits -= 6;
      text += ALPHABET[(held >> bits) & 63];
    }
    held &= (1 << bits) - 1;
  }
  return bits > 0 ? text + ALPHABET[(held << (6 - bits)) & 63] : text;
}

/**
 * Decodes canonical base64url: no padding, no foreign characters, no non-zero trailing bits.
 *
 * @param {unknown} text
 * @param {number} lengthMin In bytes.
 * @param {number} [lengthMax] In bytes; `lengthMin` by default.
 * @returns {Bytes | null} `null` for every other spelling and length.
 */
export function fromBase64url(text, lengthMin, lengthMax = lengthMin) {
  if (typeof text !== 'string') return null;
  const length = Math.floor((text.length * 6) / 8);
  // One letter alone carries no byte: it would be a second spelling of what stands before it.
  if (text.length % 4 === 1 || length < lengthMin || length > lengthMax) return null;
  const bytes = new Uint8Array(length);
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const letter of text) {
    const sextet = SEXTETS.get(letter);
    if (sextet === undefined) return null;
    held = (held << 6) | sextet;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = held >> bits;
      held &= (1 << bits) - 1;
    }
  }
  return held === 0 ? bytes : null;
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} Lower-case hexadecimal.
 */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * @param {...Uint8Array} parts
 * @returns {Bytes} All parts, one after the other.
 */
export function concat(...parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Compares in a time that depends on the lengths only.
 *
 * @param {Uint8Array} left
 * @param {Uint8Array} right
 * @returns {boolean}
 */
export function equal(left, right) {
  if (left.length !== right.length) return false;
  let difference = 0;
  for (let at = 0; at < left.length; at += 1) difference |= (left[at] ?? 0) ^ (right[at] ?? 0);
  return difference === 0;
}

/**
 * @param {number} length In bytes.
 * @returns {Bytes} Fresh random bytes.
 */
export function random(length) {
  return crypto.getRandomValues(new Uint8Array(length));
}

/**
 * @param {Uint8Array} bytes
 * @returns {DataView}
 */
export function view(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * @param {DataView} target
 * @param {number} at
 * @param {number} value An integer of at most 48 bits.
 */
export function writeU48(target, at, value) {
  target.setUint16(at, Math.floor(value / 2 ** 32));
  target.setUint32(at + 2, value % 2 ** 32);
}

/**
 * @param {DataView} source
 * @param {number} at
 * @returns {number}
 */
export function readU48(source, at) {
  return source.getUint16(at) * 2 ** 32 + source.getUint32(at + 2);
}

/**
 * @param {DataView} source
 * @param {number} at
 * @returns {number | null} `null` from 2^53 on, where numbers of JavaScript stop being exact.
 */
export function readU64(source, at) {
  const high = source.getUint32(at);
  return high < 2 ** 21 ? high * 2 ** 32 + source.getUint32(at + 4) : null;
}
