/**
 * The body of an APP frame: what an application says, and to whom it was said.
 *
 * ```
 * 0    1  content: 1 bytes, 2 text, 3 JSON
 * 1    1  flags: 0x01 direct, 0x02 volatile
 * 2    6  number: counts the sender's broadcasts, or its directs to this member; 0 if volatile
 * 8    8  direct only: the member it is for
 * 8|16    data
 * ```
 *
 * Addressee and flags are inside, so that the relay cannot turn a word to one into a word to all.
 */

import { concat, fromUtf8, readU48, toBase64url, utf8, view, writeU48 } from './bytes.js';
import { LethewireError } from './errors.js';
import { memberBytes } from './wire.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {'bytes' | 'text' | 'json'} ContentKind */

/**
 * @typedef {object} Content
 * @property {ContentKind} kind
 * @property {Bytes} data
 */

/**
 * @typedef {object} Body
 * @property {ContentKind} kind
 * @property {any} data Bytes, text or what the JSON stood for.
 * @property {boolean} volatile
 * @property {number} number
 * @property {string | null} to
 */

/** @type {readonly ContentKind[]} */
const KINDS = ['bytes', 'text', 'json'];
const FLAG_DIRECT = 0x01;
const FLAG_VOLATILE = 0x02;
const HEAD_LENGTH = 8;
const MEMBER_LENGTH = 8;

/** What the head of a body takes at most, in bytes. */
export const BODY_HEAD_MAX = HEAD_LENGTH + MEMBER_LENGTH;

/**
 * Turns what an application says into bytes, copied: it may change its buffer afterwards.
 *
 * @param {unknown} value
 * @returns {Content}
 * @throws {LethewireError} `bad_argument` for what has no JSON form.
 */
export function contentOf(value) {
  if (typeof value === 'string') return { kind: 'text', data: utf8(value) };
  if (value instanceof ArrayBuffer) return { kind: 'bytes', data: new Uint8Array(value.slice(0)) };
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    return { kind: 'bytes', data: concat(new Uint8Array(buffer, byteOffset, byteLength)) };
  }
  /** @type {string | undefined} */
  let json;
  try {
    json = JSON.stringify(value);
  } catch {
    json = undefined;
  }
  if (json === undefined) {
    throw new LethewireError(
      'bad_argument',
      'Only bytes, text and what has a JSON form can be sent.',
    );
  }
  return { kind: 'json', data: utf8(json) };
}

/**
 * @param {Content} content
 * @param {{ to?: string | undefined, volatile: boolean, number: number }} envelope
 * @returns {Bytes}
 */
export function encodeBody({ kind, data }, { to, volatile, number }) {
  const head = new Uint8Array(HEAD_LENGTH);
  head[0] = KINDS.indexOf(kind) + 1;
  head[1] = (to === undefined ? 0 : FLAG_DIRECT) | (volatile ? FLAG_VOLATILE : 0);
  writeU48(view(head), 2, number);
  return concat(head, to === undefined ? new Uint8Array(0) : memberBytes(to), data);
}

/**
 * @param {Bytes} body
 * @returns {Body | null} `null` for what no sender of this version makes.
 */
export function parseBody(body) {
  const [content = 0, flags = 0] = body;
  const kind = KINDS[content - 1];
  const direct = (flags & FLAG_DIRECT) !== 0;
  const start = direct ? HEAD_LENGTH + MEMBER_LENGTH : HEAD_LENGTH;
  if (kind === undefined || (flags & ~(FLAG_DIRECT | FLAG_VOLATILE)) !== 0) return null;
  if (body.length < start) return null;
  const data = dataOf(kind, body.slice(start));
  if (data === undefined) return null;
  return {
    kind,
    data,
    volatile: (flags & FLAG_VOLATILE) !== 0,
    number: readU48(view(body), 2),
    to: direct ? toBase64url(body.subarray(HEAD_LENGTH, start)) : null,
  };
}

/**
 * @param {ContentKind} kind
 * @param {Bytes} bytes
 * @returns {unknown} `undefined` if the bytes are not of this kind; no kind has it as a value.
 */
function dataOf(kind, bytes) {
  if (kind === 'bytes') return bytes;
  const text = fromUtf8(bytes);
  if (text === null) return undefined;
  if (kind === 'text') return text;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
