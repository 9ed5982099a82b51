// An application that decides who enters which room, and who is thrown out. Node, no dependencies.
//
//   PORT=3000 RELAY_WS=ws://127.0.0.1:8080/v1/ws ROOM_NAME_SECRET=… JOIN_TOKEN_SECRET_FILE=… node app.mjs
//
//   POST /join {"room":"standup"}                          200 {"token","ws"}, or 403
//   POST /rule {"room":"standup","op":"kick","member":"…"}  204, 403, or 409 with what the relay said
//
// Both with `Authorization: Bearer <session>`. It prints the address that it listens on.

import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';

import { mint, settings } from './mint.mjs';
import { rule } from './owner.mjs';

// Who may do what, room by room: s send, r receive, o own, c create. Yours is a query. Nobody but ann
// can open the standup; once it is open, bob may talk there and eve may listen.
const POLICY = {
  standup: { ann: 'sroc', bob: 'sr', eve: 'r' },
  board: { ann: 'sroc' },
};
// Who a session belongs to. Yours is your login.
const SESSIONS = { 'session-of-ann': 'ann', 'session-of-bob': 'bob', 'session-of-eve': 'eve' };
// Nobody stays longer than this without asking again, so a right that is taken away ends by itself.
const SESSION_S = 3600;

const common = settings();
const ws = process.env.RELAY_WS;
const own = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);

/** The relay's name of a room: always the same, and nobody learns yours from it. */
function roomName(name) {
  const digest = createHmac('sha256', process.env.ROOM_NAME_SECRET).update(name).digest();
  return digest.subarray(0, 16).toString('base64url');
}

/** What the policy allows whoever asks, as letters; nothing for strangers and unknown rooms. */
function allowed(request, name) {
  const session = request.headers.authorization?.replace(/^Bearer /, '') ?? '';
  const user = own(SESSIONS, session);
  const room = own(POLICY, name);
  return (user && room && own(room, user)) || '';
}

const CALLS = {
  async '/join'(request, { room }) {
    const cap = allowed(request, room);
    if (!cap) return [403];
    return [200, { token: mint(common, { room: roomName(room), cap, session: SESSION_S }), ws }];
  },
  async '/rule'(request, { room, op, member }) {
    if (!allowed(request, room).includes('o')) return [403];
    try {
      await rule(ws, common, { room: roomName(room), op, member });
    } catch (error) {
      return [409, { why: error.message }];
    }
    return [204];
  },
};

async function readJson(request) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > 2048) throw new Error('too long');
  }
  return JSON.parse(text);
}

const server = createServer(async (request, response) => {
  const call = request.method === 'POST' && own(CALLS, request.url);
  let status = 404;
  let body;
  try {
    if (call) [status, body] = await call(request, await readJson(request));
  } catch {
    status = 400;
  }
  // A token is for whoever asked, and no cache.
  response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
  response.end(body && JSON.stringify(body));
});
server.listen(process.env.PORT ?? 3000, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
