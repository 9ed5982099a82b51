/**
 * One sealed frame: its layout, its nonce, what is authenticated and what is signed.
 *
 * No state: the caller brings key and counter, and answers for using a counter once. Layouts are in
 * docs/e2ee.md, section 3.
 *
 * ```
 * 0   1  suite = 1
 * 1   1  kind
 * 2   2  key epoch
 * 4   8  sid[0..8]
 * 12  6  counter
 *        HELLO only: 8 bytes sid[8..16], 16 bytes commitment
 * 18|42  AES-256-GCM(body, signature 64, 0x80, zeros), tag 16
 * ```
 */

import { concat, readU48, toHex, U48_MAX, utf8, view, writeU48 } from './bytes.js';
import { COMMITMENT_LENGTH, SID_LENGTH } from './keys.js';
import { pad, paddedLength, unpad } from './padding.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./keys.js').SenderKeys} SenderKeys */
/** @typedef {import('./padding.js').Sizes} Sizes */

/**
 * Where a frame belongs: bound into every seal and signature.
 *
 * @typedef {object} Place
 * @property {Bytes} room The room's name.
 * @property {Bytes} from The sender's member id, 8 bytes.
 */

/**
 * @typedef {object} Head
 * @property {number} kind One of `KIND`, or one of a later version.
 * @property {number} epoch
 * @property {string} stream The first half of the sid, in hex: which keys to use.
 * @property {number} counter
 * @property {Bytes} sid HELLO: the whole sid; else its first half.
 * @property {Bytes} commitment HELLO: 16 bytes; else empty.
 * @property {Bytes} bytes The head as it was sent.
 */

export const KIND = Object.freeze({ hello: 0, app: 1, ctrl: 2, file: 3, mls: 4 });

const SUITE = 1;
const HEAD_LENGTH = 18;
const STREAM_LENGTH = 8;
const HELLO_HEAD_LENGTH = HEAD_LENGTH + (SID_LENGTH - STREAM_LENGTH) + COMMITMENT_LENGTH;
const SIGNATURE_LENGTH = 64;
const TAG_LENGTH = 16;
const MARK_LENGTH = 1;
const OVERHEAD = HEAD_LENGTH + SIGNATURE_LENGTH + MARK_LENGTH + TAG_LENGTH;

const AAD_LABEL = utf8('ltw1');
const SIGN_LABEL = utf8('ltw1 sig');

/**
 * The longest body of a frame other than HELLO.
 *
 * @param {Sizes} sizes
 * @returns {number} In bytes; 0 if none fits.
 */
export function bodyLengthMax(sizes) {
  return Math.max(0, (sizes.at(-1) ?? 0) - OVERHEAD);
}

/**
 * @param {Bytes} payload What the relay delivered.
 * @returns {Head | null} `null` for what is not a frame of this suite.
 */
export function parseHead(payload) {
  const [suite, kind = 0] = payload;
  const length = kind === KIND.hello ? HELLO_HEAD_LENGTH : HEAD_LENGTH;
  if (suite !== SUITE || payload.length < length + SIGNATURE_LENGTH + MARK_LENGTH + TAG_LENGTH) {
    return null;
  }
  const fields = view(payload);
  const first = payload.subarray(4, 4 + STREAM_LENGTH);
  const rest = payload.subarray(HEAD_LENGTH, length);
  return {
    kind,
    epoch: fields.getUint16(2),
    stream: toHex(first),
    counter: readU48(fields, 12),
    sid: concat(first, rest.subarray(0, SID_LENGTH - STREAM_LENGTH)),
    commitment: rest.slice(SID_LENGTH - STREAM_LENGTH),
    bytes: payload.subarray(0, length),
  };
}

/**
 * The first half of a sid, as `Head.stream` spells it.
 *
 * @param {Bytes} sid
 * @returns {string}
 */
export function streamOf(sid) {
  return toHex(sid.subarray(0, STREAM_LENGTH));
}

/**
 * Seals and signs a body.
 *
 * @param {Place} place
 * @param {object} frame
 * @param {number} frame.kind
 * @param {number} frame.epoch
 * @param {SenderKeys} frame.sender
 * @param {number} frame.counter Never used before with these keys.
 * @param {CryptoKey} frame.signKey
 * @param {Bytes} frame.body
 * @param {Sizes} sizes
 * @returns {Promise<Bytes | null>} The payload; `null` if it is too long for the room.
 */
export async function sealFrame(place, { kind, epoch, sender, counter, signKey, body }, sizes) {
  const head = encodeHead(kind, epoch, sender, counter);
  const bare = head.length + body.length + SIGNATURE_LENGTH + MARK_LENGTH + TAG_LENGTH;
  const length = paddedLength(sizes, bare);
  if (length === null) return null;
  const additionalData = concat(AAD_LABEL, place.room, place.from, head);
  const signed = await toSign(additionalData, body);
  const signature = new Uint8Array(await crypto.subtle.sign('Ed25519', signKey, signed));
  const plaintext = pad(concat(body, signature), length - head.length - TAG_LENGTH);
  const gcm = { name: 'AES-GCM', iv: nonceOf(sender.salt, counter), additionalData };
  const sealed = await crypto.subtle.encrypt(gcm, sender.key, plaintext);
  return concat(head, new Uint8Array(sealed));
}

/**
 * Opens a payload and checks its signature.
 *
 * @param {Place} place
 * @param {Head} head Of this payload.
 * @param {Bytes} payload
 * @param {SenderKeys} sender
 * @param {(body: Bytes) => Promise<CryptoKey | null>} signPublicOf The key that must have signed;
 *   `null` refuses.
 * @returns {Promise<Bytes | null>} The body; `null` if anything does not fit.
 */
export async function openFrame(place, head, payload, sender, signPublicOf) {
  const additionalData = concat(AAD_LABEL, place.room, place.from, head.bytes);
  const gcm = { name: 'AES-GCM', iv: nonceOf(sender.salt, head.counter), additionalData };
  /** @type {Bytes} */
  let plaintext;
  try {
    const sealed = payload.subarray(head.bytes.length);
    plaintext = new Uint8Array(await crypto.subtle.decrypt(gcm, sender.key, sealed));
  } catch {
    return null;
  }
  const content = unpad(plaintext);
  if (content === null || content.length < SIGNATURE_LENGTH) return null;
  const body = content.subarray(0, -SIGNATURE_LENGTH);
  const signature = content.subarray(-SIGNATURE_LENGTH);
  const key = await signPublicOf(body);
  if (key === null) return null;
  const signed = await toSign(additionalData, body);
  return (await crypto.subtle.verify('Ed25519', key, signature, signed)) ? body : null;
}

/**
 * The nonce of a counter: the salt, its last 48 bits XOR the counter.
 *
 * @param {Bytes} salt 12 bytes.
 * @param {number} counter
 * @returns {Bytes}
 */
export function nonceOf(salt, counter) {
  const nonce = salt.slice();
  const fields = view(nonce);
  const low = readU48(fields, 6);
  const high16 = Math.floor(low / 2 ** 32) ^ Math.floor(counter / 2 ** 32);
  const low32 = ((low % 2 ** 32) ^ (counter % 2 ** 32)) >>> 0;
  writeU48(fields, 6, high16 * 2 ** 32 + low32);
  return nonce;
}

/**
 * @param {number} kind
 * @param {number} epoch
 * @param {SenderKeys} sender
 * @param {number} counter
 */
function encodeHead(kind, epoch, sender, counter) {
  if (counter > U48_MAX) throw new RangeError('a counter has 48 bits');
  const head = new Uint8Array(HEAD_LENGTH);
  const fields = view(head);
  head[0] = SUITE;
  head[1] = kind;
  fields.setUint16(2, epoch);
  head.set(sender.sid.subarray(0, STREAM_LENGTH), 4);
  writeU48(fields, 12, counter);
  if (kind !== KIND.hello) return head;
  return concat(head, sender.sid.subarray(STREAM_LENGTH), sender.commitment);
}

/**
 * @param {Bytes} additionalData
 * @param {Bytes} body
 */
async function toSign(additionalData, body) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', body));
  return concat(SIGN_LABEL, additionalData, hash);
}
