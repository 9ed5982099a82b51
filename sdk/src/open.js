/**
 * The two ways into a room: making one, and joining one by its link.
 */

import { Api } from './api.js';
import { equal, fromBase64url, random, toBase64url } from './bytes.js';
import { LethewireError } from './errors.js';
import { isSupported } from './keys.js';
import { certify, formatLink, originOf, ownerHash, parseLink } from './link.js';
import { Room } from './room.js';

/** @typedef {import('./api.js').RoomOptions} RoomOptions */
/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./socket.js').WebSocketConstructor} WebSocketConstructor */

const SECRET_LENGTH = 32;

/**
 * Makes a room. It is connected in the background: see `room.ready`.
 *
 * @param {object} how
 * @param {string} how.relay Base URL of the relay.
 * @param {string} [how.app] The page that the link opens; by default the relay's own.
 * @param {RoomOptions} [how.options]
 * @param {unknown} [how.WebSocket] A WebSocket class, where the platform has none.
 * @returns {Promise<Room>}
 */
export async function createRoom({ relay, app, options, WebSocket }) {
  const origin = relayOf(relay);
  if (app !== undefined && originOf(app) === null) {
    throw new LethewireError('bad_argument', 'The app is an http(s) URL.');
  }
  const ownerSecret = random(SECRET_LENGTH);
  const owner = await ownerHash(ownerSecret);
  const parts = { app: app ?? `${origin}/`, secret: random(SECRET_LENGTH), owner };
  return open(parts, { relay, ownerSecret, options, WebSocket, isNew: true });
}

/**
 * Joins the room of a link. It is connected in the background: see `room.ready`.
 *
 * @param {string} link
 * @param {object} [how]
 * @param {string} [how.relay] Base URL of the relay; by default the origin of the link.
 * @param {string} [how.ownerSecret] As `room.ownerSecret` gave it.
 * @param {unknown} [how.WebSocket] A WebSocket class, where the platform has none.
 * @returns {Promise<Room>}
 */
export async function joinRoom(link, { relay, ownerSecret, WebSocket } = {}) {
  const parts = parseLink(link);
  const known = relay ?? originOf(parts.app);
  if (known === null) {
    throw new LethewireError('bad_link', 'The link does not say which relay the room is on.');
  }
  relayOf(known);
  const secret = ownerSecret ? fromBase64url(ownerSecret, SECRET_LENGTH) : null;
  if (ownerSecret && (secret === null || !equal(await ownerHash(secret), parts.owner))) {
    throw new LethewireError('not_owner', "This is not the secret of the room's owner.");
  }
  return open(parts, { relay: known, ownerSecret: secret, WebSocket, isNew: false });
}

/**
 * @param {import('./link.js').LinkParts} parts
 * @param {{ relay: string, ownerSecret: Bytes | null, WebSocket: unknown, isNew: boolean,
 *   options?: RoomOptions | undefined }} how
 * @returns {Promise<Room>}
 */
async function open(parts, { relay, ownerSecret, options, isNew, WebSocket }) {
  if (!globalThis.crypto?.subtle) {
    const text = 'Encryption works only on pages that are loaded over https or from localhost.';
    throw new LethewireError('unsupported_browser', text);
  }
  const Socket = WebSocket ?? globalThis.WebSocket;
  if (typeof Socket !== 'function' || !(await isSupported())) {
    throw new LethewireError('unsupported_browser');
  }
  const { app, secret, owner } = parts;
  const certificate = await certify(secret, owner);
  const link = formatLink({ app: app || `${originOf(relay)}/`, secret, owner });
  const { room, admission } = certificate;
  return new Room({
    link,
    ownerSecret: ownerSecret ? toBase64url(ownerSecret) : '',
    certificate,
    api: new Api(relay, { room, admission, owner, ownerSecret }),
    WebSocket: /** @type {WebSocketConstructor} */ (Socket),
    isNew,
    options,
  });
}

/** @param {string} relay */
function relayOf(relay) {
  const origin = typeof relay === 'string' ? originOf(relay) : null;
  if (origin === null) throw new LethewireError('bad_argument', 'The relay is an http(s) URL.');
  return origin;
}
