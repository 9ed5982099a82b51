/**
 * What people compare to know that nobody stands between them: words, digits, a fingerprint.
 *
 * The fingerprint covers the room, the key epoch and the signature keys of all verified members.
 * Words are computed, not listed: consonant, vowel, consonant, vowel and a consonant that checks
 * the others, so that one misheard sound does not fit.
 */

import { concat, toHex, utf8, view } from './bytes.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * @typedef {object} Verification
 * @property {string[]} words 8 words, 88 bits.
 * @property {string} digits 60 digits, 199 bits.
 * @property {string} fingerprint 64 hex digits, all of it.
 */

const WORDS = 8;
const WORD_BITS = 11;
const DIGIT_GROUPS = 12;
const CONSONANTS = 'bdfghjklmnprstvz';
const VOWELS = 'aiou';
const LAST_VOWELS = 'ao';

/**
 * @param {Bytes} room
 * @param {number} epoch The key epoch.
 * @param {Bytes[]} signPublics Of all verified members and of ourselves, in any order.
 * @returns {Promise<Verification>}
 */
export async function verificationOf(room, epoch, signPublics) {
  const epochBytes = new Uint8Array(2);
  view(epochBytes).setUint16(0, epoch);
  const keys = [...signPublics].sort(compare);
  const fingerprint = await digest('SHA-256', concat(utf8('fp'), room, ...keys, epochBytes));
  const stretched = await digest('SHA-512', concat(utf8('ltw1 digits'), fingerprint));
  return {
    words: wordsOf(fingerprint),
    digits: digitsOf(stretched),
    fingerprint: toHex(fingerprint),
  };
}

/**
 * The word of 11 bits.
 *
 * @param {number} index Below 2048.
 * @returns {string}
 */
export function wordOf(index) {
  const first = index >> 7;
  const firstVowel = (index >> 5) & 3;
  const second = (index >> 1) & 15;
  const lastVowel = index & 1;
  // Odd weights below 16: a change of any one sound changes the sum.
  const check = (first + 3 * firstVowel + 5 * second + 7 * lastVowel) % 16;
  return [
    CONSONANTS[first],
    VOWELS[firstVowel],
    CONSONANTS[second],
    LAST_VOWELS[lastVowel],
    CONSONANTS[check],
  ].join('');
}

/** @param {Bytes} fingerprint */
function wordsOf(fingerprint) {
  const bits = BigInt(`0x${toHex(fingerprint.subarray(0, (WORDS * WORD_BITS) / 8))}`);
  return Array.from({ length: WORDS }, (_, at) => {
    const shift = BigInt((WORDS - 1 - at) * WORD_BITS);
    return wordOf(Number((bits >> shift) & 2047n));
  });
}

/** @param {Bytes} stretched 64 bytes, of which 60 are used: 5 bytes, 5 digits. */
function digitsOf(stretched) {
  const fields = view(stretched);
  return Array.from({ length: DIGIT_GROUPS }, (_, at) => {
    const value = fields.getUint8(at * 5) * 2 ** 32 + fields.getUint32(at * 5 + 1);
    return String(value % 100_000).padStart(5, '0');
  }).join('');
}

/**
 * @param {'SHA-256' | 'SHA-512'} algorithm
 * @param {Bytes} bytes
 */
async function digest(algorithm, bytes) {
  return new Uint8Array(await crypto.subtle.digest(algorithm, bytes));
}

/**
 * @param {Bytes} left
 * @param {Bytes} right
 */
function compare(left, right) {
  const [a, b] = [toHex(left), toHex(right)];
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
