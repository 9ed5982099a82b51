/**
 * A room is its own certificate: what follows from the secret in a link, and the link's text.
 *
 * Owns the derivations of PROTOCOL §2 and the spelling `<app url>#1.<secret>.<owner>`. The secret
 * is imported as a non-extractable key at once; only the link itself carries it as text.
 */

import { concat, fromBase64url, toBase64url, utf8 } from './bytes.js';
import { LethewireError } from './errors.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * @typedef {object} LinkParts
 * @property {string} app The page that the link opens, without a fragment; may be empty.
 * @property {Bytes} secret The room's secret, 32 bytes.
 * @property {Bytes} owner The hash of the owner's secret, 16 bytes.
 */

/**
 * @typedef {object} Certificate
 * @property {Bytes} room The room's name, the only one that the relay knows, 16 bytes.
 * @property {Bytes} admission The key that proves to the relay that the link is known, 32 bytes.
 * @property {CryptoKey} epochKey The room's end-to-end key; never leaves the clients.
 */

const SALT = utf8('lethewire/v1');
const VERSION = '1';
/** The URL Standard's fragments survive copying; anything longer than this is not a link of ours. */
const LINK_LENGTH_MAX = 4096;

/**
 * Takes a link apart.
 *
 * @param {string} link White space around it is ignored, as it comes with copying.
 * @returns {LinkParts}
 * @throws {LethewireError} `bad_link`, with a message that says what is wrong.
 */
export function parseLink(link) {
  if (typeof link !== 'string') throw badLink('A link is a text.');
  const text = link.trim();
  if (text.length > LINK_LENGTH_MAX) throw badLink('The link is much too long.');
  const hash = text.indexOf('#');
  if (hash < 0 || hash === text.length - 1) {
    throw badLink('The link is incomplete: the part after # is missing. Copy it as a whole.');
  }
  const app = text.slice(0, hash);
  if (app !== '' && originOf(app) === null) throw badLink('The link does not begin with https://.');
  const [version, secretText, ownerText, ...rest] = text.slice(hash + 1).split('.');
  if (version !== VERSION) {
    throw badLink(
      /^\d{1,4}$/.test(version ?? '')
        ? 'The link is of another version of Lethewire. Please reload the page.'
        : 'This is not the link of a room.',
    );
  }
  const secret = fromBase64url(secretText, 32);
  const owner = fromBase64url(ownerText, 16);
  if (secret === null || owner === null || rest.length > 0) {
    throw badLink('The link is damaged: some characters are missing or wrong. Copy it as a whole.');
  }
  return { app, secret, owner };
}

/**
 * Makes a link.
 *
 * @param {LinkParts} parts A fragment of `app` is dropped.
 * @returns {string}
 */
export function formatLink({ app, secret, owner }) {
  if (secret?.length !== 32 || owner?.length !== 16) {
    throw new LethewireError('bad_argument', 'A link has 32 bytes of secret and 16 of owner.');
  }
  const [page] = app.split('#');
  return `${page}#${VERSION}.${toBase64url(secret)}.${toBase64url(owner)}`;
}

/**
 * The origin of an http(s) URL.
 *
 * @param {string} url
 * @returns {string | null}
 */
export function originOf(url) {
  try {
    const { origin, protocol } = new URL(url);
    return protocol === 'https:' || protocol === 'http:' ? origin : null;
  } catch {
    return null;
  }
}

/**
 * Derives what a room's secret and owner stand for.
 *
 * @param {Bytes} secret 32 bytes.
 * @param {Bytes} owner 16 bytes.
 * @returns {Promise<Certificate>}
 */
export async function certify(secret, owner) {
  const key = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const admission = await expand(key, utf8('admission'));
  const room = await roomOf(admission, owner);
  const roomKey = await expand(key, concat(utf8('e2ee\0'), room));
  const epochKey = await crypto.subtle.importKey('raw', roomKey, 'HKDF', false, [
    'deriveBits',
    'deriveKey',
  ]);
  roomKey.fill(0);
  return { room, admission, epochKey };
}

/**
 * The hash of an owner's secret, as it stands in the link.
 *
 * @param {Bytes} ownerSecret 32 bytes.
 * @returns {Promise<Bytes>} 16 bytes.
 */
export async function ownerHash(ownerSecret) {
  return (await sha256(utf8('lethewire/v1 owner\0'), ownerSecret)).slice(0, 16);
}

/**
 * @param {Bytes} admission
 * @param {Bytes} owner
 */
async function roomOf(admission, owner) {
  const hash = await sha256(utf8('lethewire/v1 admission\0'), admission);
  return (await sha256(utf8('lethewire/v1 room\0'), hash, owner)).slice(0, 16);
}

/**
 * @param {CryptoKey} key
 * @param {Bytes} info
 */
async function expand(key, info) {
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: SALT, info };
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, key, 256));
}

/** @param {...Bytes} parts */
async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', concat(...parts)));
}

/** @param {string} message */
function badLink(message) {
  return new LethewireError('bad_link', message);
}
