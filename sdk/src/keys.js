/**
 * Keys: of a room, of a sender, of a connection.
 *
 * Every key that can be one is a non-extractable WebCrypto key: a script that gets into the page
 * may use it but not carry it away. What follows from what is in docs/e2ee.md, section 2.
 */

import { utf8 } from './bytes.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * What one stream of frames is sealed with.
 *
 * @typedef {object} SenderKeys
 * @property {Bytes} sid 16 bytes, random.
 * @property {CryptoKey} key AES-256-GCM.
 * @property {Bytes} salt 12 bytes, the start of every nonce.
 * @property {Bytes} commitment 16 bytes; says in the clear which key this is.
 */

/**
 * The keys of one connection of one member.
 *
 * @typedef {object} Identity
 * @property {CryptoKey} signKey Ed25519, private.
 * @property {Bytes} signPublic 32 bytes.
 * @property {CryptoKey} agreeKey X25519, private.
 * @property {Bytes} agreePublic 32 bytes.
 */

export const SID_LENGTH = 16;
export const COMMITMENT_LENGTH = 16;
const SALT_LENGTH = 12;

const INFO_KEY = utf8('key');
const INFO_SALT = utf8('salt');
const INFO_COMMITMENT = utf8('commit');

/**
 * Whether this platform has what encrypted rooms need.
 *
 * @returns {Promise<boolean>}
 */
export async function isSupported() {
  try {
    await createIdentity();
    return true;
  } catch {
    return false;
  }
}

/**
 * Derives what belongs to a sid.
 *
 * @param {CryptoKey} epochKey HKDF.
 * @param {Bytes} sid
 * @returns {Promise<SenderKeys>}
 */
export async function deriveSender(epochKey, sid) {
  const [key, salt, commitment] = await Promise.all([
    crypto.subtle.deriveKey(
      hkdf(sid, INFO_KEY),
      epochKey,
      { name: 'AES-GCM', length: 256 },
      false,
      ['encrypt', 'decrypt'],
    ),
    crypto.subtle.deriveBits(hkdf(sid, INFO_SALT), epochKey, SALT_LENGTH * 8),
    crypto.subtle.deriveBits(hkdf(sid, INFO_COMMITMENT), epochKey, COMMITMENT_LENGTH * 8),
  ]);
  return { sid, key, salt: new Uint8Array(salt), commitment: new Uint8Array(commitment) };
}

/**
 * Makes the keys of a connection.
 *
 * @returns {Promise<Identity>}
 */
export async function createIdentity() {
  const sign = pair(await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']));
  const agree = pair(await crypto.subtle.generateKey('X25519', false, ['deriveBits']));
  return {
    signKey: sign.privateKey,
    signPublic: await raw(sign.publicKey),
    agreeKey: agree.privateKey,
    agreePublic: await raw(agree.publicKey),
  };
}

/**
 * Imports the key that another member's signatures are checked with.
 *
 * @param {Bytes} signPublic 32 bytes.
 * @returns {Promise<CryptoKey>}
 */
export function importSignPublic(signPublic) {
  return crypto.subtle.importKey('raw', signPublic, 'Ed25519', false, ['verify']);
}

/**
 * @param {Bytes} salt
 * @param {Bytes} info
 */
function hkdf(salt, info) {
  return { name: 'HKDF', hash: 'SHA-256', salt, info };
}

/** @param {CryptoKey} key */
async function raw(key) {
  return new Uint8Array(await crypto.subtle.exportKey('raw', key));
}

/**
 * @param {CryptoKey | CryptoKeyPair} keys
 * @returns {CryptoKeyPair}
 */
function pair(keys) {
  return /** @type {CryptoKeyPair} */ (keys);
}
