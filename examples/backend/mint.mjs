// Mints join tokens: Node 20 or newer, no dependencies.
//
//   JOIN_TOKEN_SECRET_FILE=join-token.secret node mint.mjs ROOM CAP [TTL_S [SESSION_S]]
//
// ROOM is base64url of 16 to 32 bytes; CAP are letters of s, r, o and c (docs/protocol.md, section 4).
// TOKEN_KID, TOKEN_ISSUER and TOKEN_AUDIENCE are those of the relay.

import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/** What the relay and the backend have in common. */
export function settings(env = process.env) {
  return {
    // One line end is not part of the secret: the relay reads the same file in the same way.
    secret: readFileSync(env.JOIN_TOKEN_SECRET_FILE, 'utf8').replace(/\r?\n$/, ''),
    kid: env.TOKEN_KID || 'k1',
    issuer: env.TOKEN_ISSUER || 'lethewire',
    audience: env.TOKEN_AUDIENCE || 'lethewire',
  };
}

/** A token that lets its bearer into a room once; `session` is how many seconds it may stay. */
export function mint({ secret, kid, issuer, audience }, { room, cap, ttl = 60, session }) {
  const now = Math.floor(Date.now() / 1000);
  const header = { alg: 'HS256', kid, typ: 'lethewire-join+jwt' };
  const claims = {
    iss: issuer,
    aud: audience,
    room,
    cap,
    iat: now,
    exp: now + ttl,
    jti: randomBytes(16).toString('base64url'),
    // A member that is undefined is left out of the JSON.
    ses: session,
  };
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [room, cap, ttl, session] = process.argv.slice(2);
  const number = (text) => (text === undefined ? undefined : Number(text));
  console.log(mint(settings(), { room, cap, ttl: number(ttl), session: number(session) }));
}
