/**
 * Makes tests/vectors/e2ee.json, with node:crypto and without a line of the SDK: a second
 * implementation of docs/e2ee.md, so that the vectors are more than what the first one does.
 *
 * `node test/support/make-vectors.js` writes the file; a test compares it.
 */

import {
  createCipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  sign,
} from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** @typedef {Buffer<ArrayBuffer>} Bytes */

const VECTORS = new URL('../../../tests/vectors/', import.meta.url);
const LINK = JSON.parse(readFileSync(new URL('link.json', VECTORS), 'utf8')).cases[0];

const SID = hex('a0a1a2a3a4a5a6a7a8a9aaabacadaeaf');
const FROM = hex('0102030405060708');
const TO = hex('1112131415161718');
const ED25519_SEED = hex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60');
const X25519_PRIVATE = hex('77076d0a7318a57d3c16c17251b26645df4c6dd4d8a1eb2d0d6b8b0d0a0f6e2a');
const CHALLENGE = hex('c0c1c2c3c4c5c6c7c8c9cacbcccdcecf');
const ANSWER = hex('d0d1d2d3d4d5d6d7d8d9dadbdcdddedf');

/** Makes the vectors. */
export function makeVectors() {
  const room = hex(LINK.room);
  const roomKey = hex(LINK.room_key);
  const key = derive(roomKey, 'key', 32);
  const salt = derive(roomKey, 'salt', 12);
  const commitment = derive(roomKey, 'commit', 16);
  const ed25519Public = publicOf(ED25519_SEED, ED25519_PKCS8);
  const x25519Public = publicOf(X25519_PRIVATE, X25519_PKCS8);
  const keys = { room, key, salt, commitment };
  const hello = (/** @type {Bytes} */ answer, /** @type {number[]} */ counts) =>
    Buffer.concat([
      ed25519Public,
      x25519Public,
      CHALLENGE,
      answer,
      u(counts[0], 4),
      u(counts[1], 6),
      u(counts[2], 6),
    ]);
  const text = Buffer.from('Lethe, Λήθη', 'utf8');
  const json = Buffer.from('{"a":[1,null]}', 'utf8');
  return {
    description:
      'Sealed frames of docs/e2ee.md, suite 1. All values hex. Made with node:crypto, not with the SDK.',
    room: LINK.room,
    room_key: LINK.room_key,
    sid: SID.toString('hex'),
    key: key.toString('hex'),
    salt: salt.toString('hex'),
    commitment: commitment.toString('hex'),
    from: FROM.toString('hex'),
    ed25519_seed: ED25519_SEED.toString('hex'),
    ed25519_public: ed25519Public.toString('hex'),
    x25519_private: X25519_PRIVATE.toString('hex'),
    x25519_public: x25519Public.toString('hex'),
    nonces: [0, 1, 255, 2 ** 20, 2 ** 32 + 5, 2 ** 48 - 1].map((counter) => ({
      counter,
      nonce: nonceOf(salt, counter).toString('hex'),
    })),
    frames: [
      frame(keys, 'HELLO to all', 0, 0, hello(Buffer.alloc(16), [0, 0, 0]), 256),
      frame(keys, 'HELLO that answers', 0, 7, hello(ANSWER, [1, 2, 3]), 256),
      frame(keys, 'text to all', 1, 1, Buffer.concat([hex('0200'), u(1, 6), text]), 256),
      frame(keys, 'JSON to one', 1, 2, Buffer.concat([hex('0301'), u(1, 6), TO, json]), 256),
      frame(
        keys,
        'volatile bytes',
        1,
        2 ** 20 - 1,
        Buffer.concat([hex('0102'), u(0, 6), hex('00ff80')]),
        256,
      ),
      frame(keys, 'no bytes', 1, 3, Buffer.concat([hex('0100'), u(2, 6)]), 256),
      frame(
        keys,
        'next bucket',
        1,
        4,
        Buffer.concat([hex('0100'), u(3, 6), Buffer.alloc(150, 0x80)]),
        1024,
      ),
    ],
    verification: verification(room, [ed25519Public, x25519Public]),
  };
}

/**
 * @param {{ room: Bytes, key: Bytes, salt: Bytes, commitment: Bytes }} keys
 * @param {string} name
 * @param {number} kind
 * @param {number} counter
 * @param {Bytes} body
 * @param {number} bucket
 */
function frame({ room, key, salt, commitment }, name, kind, counter, body, bucket) {
  const short = Buffer.concat([u(1, 1), u(kind, 1), u(0, 2), SID.subarray(0, 8), u(counter, 6)]);
  const head = kind === 0 ? Buffer.concat([short, SID.subarray(8), commitment]) : short;
  const aad = Buffer.concat([Buffer.from('ltw1'), room, FROM, head]);
  const hash = createHash('sha256').update(body).digest();
  const signed = Buffer.concat([Buffer.from('ltw1 sig'), aad, hash]);
  const signature = sign(null, signed, privateOf(ED25519_SEED, ED25519_PKCS8));
  const content = Buffer.concat([body, signature, hex('80')]);
  const zeros = Buffer.alloc(bucket - head.length - content.length - 16);
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(salt, counter));
  cipher.setAAD(aad);
  const sealed = [
    cipher.update(Buffer.concat([content, zeros])),
    cipher.final(),
    cipher.getAuthTag(),
  ];
  return {
    name,
    kind,
    counter,
    body: body.toString('hex'),
    aad: aad.toString('hex'),
    signature: signature.toString('hex'),
    payload: Buffer.concat([head, ...sealed]).toString('hex'),
  };
}

/**
 * @param {Bytes} room
 * @param {Bytes[]} signPublics
 */
function verification(room, signPublics) {
  const keys = [...signPublics].sort(Buffer.compare);
  const fingerprint = sha('sha256', Buffer.from('fp'), room, ...keys, u(0, 2));
  const stretched = sha('sha512', Buffer.from('ltw1 digits'), fingerprint);
  const bits = [...fingerprint].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return {
    epoch: 0,
    sign_publics: signPublics.map((key) => key.toString('hex')),
    fingerprint: fingerprint.toString('hex'),
    words: Array.from({ length: 8 }, (_, at) => word(bits.slice(at * 11, at * 11 + 11))),
    digits: Array.from({ length: 12 }, (_, at) =>
      String(stretched.readUIntBE(at * 5, 5) % 100000).padStart(5, '0'),
    ).join(''),
  };
}

/** @param {string} bits Eleven. */
function word(bits) {
  const [a, b, c, d] = [bits.slice(0, 4), bits.slice(4, 6), bits.slice(6, 10), bits.slice(10)].map(
    (part) => Number.parseInt(part, 2),
  );
  const consonants = 'bdfghjklmnprstvz';
  const check = (Number(a) + 3 * Number(b) + 5 * Number(c) + 7 * Number(d)) % 16;
  return [
    consonants[Number(a)],
    'aiou'[Number(b)],
    consonants[Number(c)],
    'ao'[Number(d)],
    consonants[check],
  ].join('');
}

/**
 * @param {Bytes} roomKey
 * @param {string} info
 * @param {number} length
 */
function derive(roomKey, info, length) {
  return Buffer.from(hkdfSync('sha256', roomKey, SID, info, length));
}

/**
 * @param {Bytes} salt
 * @param {number} counter
 */
function nonceOf(salt, counter) {
  const mask = Buffer.concat([Buffer.alloc(6), u(counter, 6)]);
  return Buffer.from(salt.map((byte, at) => byte ^ (mask[at] ?? 0)));
}

const ED25519_PKCS8 = hex('302e020100300506032b657004220420');
const X25519_PKCS8 = hex('302e020100300506032b656e04220420');

/**
 * @param {Bytes} secret
 * @param {Bytes} prefix
 */
function privateOf(secret, prefix) {
  return createPrivateKey({ key: Buffer.concat([prefix, secret]), format: 'der', type: 'pkcs8' });
}

/**
 * @param {Bytes} secret
 * @param {Bytes} prefix
 */
function publicOf(secret, prefix) {
  const spki = createPublicKey(privateOf(secret, prefix)).export({ format: 'der', type: 'spki' });
  return Buffer.from(spki.subarray(-32));
}

/**
 * @param {string} algorithm
 * @param {...Bytes} parts
 */
function sha(algorithm, ...parts) {
  return createHash(algorithm).update(Buffer.concat(parts)).digest();
}

/**
 * @param {number | undefined} value
 * @param {number} length
 */
function u(value, length) {
  const bytes = Buffer.alloc(length);
  bytes.writeUIntBE(value ?? 0, 0, length);
  return bytes;
}

/** @param {string} text */
function hex(text) {
  return Buffer.from(text, 'hex');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('e2ee.json', VECTORS), `${JSON.stringify(makeVectors(), null, 1)}\n`);
}
