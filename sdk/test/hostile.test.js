/**
 * Relays that are none, or none of ours: what they answer must not harm, and is said in plain words.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test as nodeTest } from 'node:test';
import WebSocket, { WebSocketServer } from 'ws';
import { createRoom } from '../src/index.js';
import { Ear } from './support/relay.js';

/**
 * @param {string} name
 * @param {(t: import('node:test').TestContext) => Promise<void>} run
 */
function test(name, run) {
  nodeTest(name, { timeout: 30_000 }, run);
}

/** @typedef {{ status: number, body: string, headers?: Record<string, string> }} Answer */

/**
 * Something that answers HTTP.
 *
 * @param {import('node:test').TestContext} t
 * @param {(path: string, url: string) => Answer} answer
 * @param {(socket: WebSocket) => void} [talk]
 */
async function impostor(t, answer, talk) {
  /** @type {string[]} */
  const paths = [];
  let url = '';
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      paths.push(request.url ?? '');
      const { status, body, headers } = answer(request.url ?? '', url);
      response.writeHead(status, headers).end(body);
    });
  });
  if (talk) {
    const handleProtocols = () => 'lethewire.v1';
    new WebSocketServer({ server, handleProtocols }).on('connection', talk);
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  url = `http://127.0.0.1:${port}`;
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const room = await createRoom({ relay: url, WebSocket });
  t.after(() => room.leave());
  return { room, ear: new Ear(room), paths };
}

/** @param {string} type */
function problem(type, more = {}) {
  return JSON.stringify({ type: `https://lethewire.example/problems/${type}`, ...more });
}

/** @type {[string, Answer, string][]} */
const FINAL = [
  ['a page', { status: 200, body: '<!doctype html><p>Hello' }, 'bad_answer'],
  ['nothing', { status: 200, body: '' }, 'bad_answer'],
  ['a list', { status: 200, body: '[]' }, 'bad_answer'],
  ['a token with spaces', grant({ token: 'a b' }), 'bad_answer'],
  ['a token without end', grant({ token: 'a'.repeat(2000) }), 'bad_answer'],
  ['no URL', grant({ ws: undefined }), 'bad_answer'],
  ['another scheme', grant({ ws: 'http://127.0.0.1/' }), 'bad_answer'],
  ['no room', { status: 404, body: problem('not-found') }, 'rooms_not_offered'],
  ['a denied origin', { status: 403, body: problem('origin-denied') }, 'origin_denied'],
  ['a refusal', { status: 400, body: problem('bad-request') }, 'bad_answer'],
  ['a closed room', { status: 410, body: problem('room-closed') }, 'room_closed'],
  ['a locked room', { status: 423, body: problem('room-locked') }, 'room_locked'],
  ['a problem with a name of its own', { status: 418, body: problem('constructor') }, 'bad_answer'],
  ['too much', { status: 200, body: ' '.repeat(1e6) }, 'bad_answer'],
];

/** @param {object} change @returns {Answer} */
function grant(change) {
  return {
    status: 201,
    body: JSON.stringify({ token: 'a.b.c', ws: 'ws://127.0.0.1:1/', ...change }),
  };
}

for (const [what, answer, code] of FINAL) {
  test(`${what} instead of a token: ${code}`, async (t) => {
    const { room, ear } = await impostor(t, () => answer);
    await assert.rejects(room.ready, { code });
    const [{ state, reason, message }] = ear.all('state');
    assert.deepEqual({ state, reason }, { state: 'closed', reason: code });
    assert.notEqual(message, '');
  });
}

/** @type {[string, Answer, string, number][]} */
const PASSING = [
  [
    'a quota',
    { status: 429, body: problem('quota-exceeded', { retry_after_ms: 5000 }) },
    'quota_exceeded',
    5000,
  ],
  [
    'a quota of a proxy',
    { status: 429, body: 'slow down', headers: { 'Retry-After': '7' } },
    'quota_exceeded',
    7000,
  ],
  [
    'a quota that says so in its fields',
    {
      status: 429,
      body: '',
      headers: { RateLimit: '"a";r=3;t=90, "b"; r=0; t=4,"c";t=11;r=0, "d";r=05;t=60' },
    },
    'quota_exceeded',
    11_000,
  ],
  [
    'a quota until the day after, which is too long',
    {
      status: 429,
      body: '',
      headers: { 'Retry-After': new Date(Date.now() + 864e5).toUTCString() },
    },
    'quota_exceeded',
    3_600_000,
  ],
  [
    'a quota until yesterday',
    {
      status: 429,
      body: '',
      headers: { 'Retry-After': new Date(0).toUTCString(), RateLimit: 'x' },
    },
    'quota_exceeded',
    0,
  ],
  [
    'a proxy whose relay comes back soon',
    { status: 502, body: '', headers: { 'Retry-After': '2', RateLimit: '"a";r=0;t=9' } },
    'network',
    2000,
  ],
  [
    'a drain',
    { status: 503, body: problem('temporary-reduced-capacity', { retry_after_ms: 3000 }) },
    'temporary_reduced_capacity',
    3000,
  ],
  ['a full room', { status: 409, body: problem('room-full') }, 'room_full', 0],
  ['a proxy whose relay is away', { status: 502, body: 'Bad Gateway' }, 'network', 0],
  [
    'another place',
    { status: 307, body: '', headers: { Location: 'http://127.0.0.1:1/' } },
    'network',
    0,
  ],
];

for (const [what, answer, code, hintMs] of PASSING) {
  test(`${what} is waited out: ${code}`, async (t) => {
    const { ear } = await impostor(t, () => answer);
    const { state, reason, retryInMs } = await ear.next('state');
    assert.deepEqual({ state, reason }, { state: 'reconnecting', reason: code });
    assert.ok(retryInMs >= hintMs && retryInMs <= hintMs + 500, String(retryInMs));
  });
}

const WELCOME = {
  type: 'welcome',
  v: 1,
  member: 'AQIDBAUGBwg',
  epoch: 'AAAAAAAAAAA',
  seq: 1,
  members: [],
  cap: 'sr',
  locked: false,
  limits: {
    payload_bytes: 65536,
    members: 64,
    messages: [300, 10],
    bytes: [16777216, 10],
    heartbeat_s: 25,
  },
  padding: [256, 1024],
};

/** @param {(socket: WebSocket) => void} talk */
function talker(talk) {
  return (/** @type {import('node:test').TestContext} */ t) => {
    const answer = (/** @type {string} */ _path, /** @type {string} */ url) =>
      grant({ ws: url.replace('http', 'ws') });
    return impostor(t, answer, talk);
  };
}

/** @type {[string, (socket: WebSocket) => void][]} */
const NONSENSE = [
  ['text that is no JSON', (socket) => socket.send('hello')],
  ['another version', (socket) => socket.send(JSON.stringify({ ...WELCOME, v: 2 }))],
  ['a message before the welcome', (socket) => socket.send('{"type":"pong","n":1}')],
  ['bytes before the welcome', (socket) => socket.send(new Uint8Array(100))],
  [
    'two welcomes',
    (socket) => {
      socket.send(JSON.stringify(WELCOME));
      socket.send(JSON.stringify(WELCOME));
    },
  ],
  [
    'bytes that are no frame',
    (socket) => {
      socket.send(JSON.stringify(WELCOME));
      socket.send(new Uint8Array(100));
    },
  ],
];

for (const [what, talk] of NONSENSE) {
  test(`${what}: the connection is given up`, async (t) => {
    const { room, ear } = await talker(talk)(t);
    const { reason } = await ear.next('state', ({ state }) => state === 'closed');
    assert.equal(reason, 'protocol');
    assert.equal(room.state, 'closed');
  });
}

test('a room of nobody but the relay’s inventions: nobody is verified, nothing is believed', async (t) => {
  const ghost = 'EBESExQVFhc';
  const { room, ear } = await talker((socket) => {
    socket.send(JSON.stringify({ ...WELCOME, members: [ghost] }));
    const frame = new Uint8Array(20 + 256);
    frame.set([0x81, 0, 0, 0, 16, 17, 18, 19, 20, 21, 22, 23]);
    frame.set([1, 0], 20);
    socket.send(frame);
    socket.send('{"type":"weather","sun":true}');
    socket.send('{"type":"error","code":"not_permitted"}');
  })(t);
  assert.equal((await ear.next('error')).code, 'undecryptable');
  assert.equal((await ear.next('error')).code, 'not_permitted');
  assert.deepEqual([...room.members], [[ghost, { id: ghost, verified: false }]]);
  assert.deepEqual(ear.all('message'), []);
  const { digits } = await room.verification();
  assert.match(digits, /^\d{60}$/);
});

test('a relay that invents members without end is left', async (t) => {
  const { ear } = await talker((socket) => {
    socket.send(JSON.stringify(WELCOME));
    const id = Buffer.alloc(8);
    const invent = (/** @type {number} */ from) => {
      if (socket.readyState !== WebSocket.OPEN) return;
      for (let n = from; n < from + 500; n += 1) {
        id.writeUInt32BE(n);
        socket.send(JSON.stringify({ type: 'join', member: id.toString('base64url'), seq: n }));
      }
      setImmediate(invent, from + 500);
    };
    invent(1);
  })(t);
  const { reason } = await ear.next('state', ({ state }) => state === 'closed');
  assert.equal(reason, 'protocol');
  assert.equal(ear.all('join').length, 10_000);
});

test('a token that is refused is replaced once, then it is said', async (t) => {
  const { room, paths } = await talker((socket) => socket.close(4101, 'token_invalid'))(t);
  await assert.rejects(room.ready, { code: 'token_invalid' });
  // Made, and one fresh token; no third.
  assert.deepEqual(paths, ['/v1/rooms', '/v1/tokens']);
});

test('a drain moves its clients on, each at its time, and a restart’s hint is kept to', async (t) => {
  let connections = 0;
  const { room, ear } = await talker((socket) => {
    connections += 1;
    socket.send(JSON.stringify(WELCOME));
    if (connections === 1) socket.send('{"type":"drain","reconnect_after_ms":10}');
    if (connections === 2) socket.close(1012, 'restart;r=4000');
  })(t);
  await room.ready;
  const first = await ear.next('state', ({ state }) => state === 'reconnecting');
  assert.equal(first.reason, 'restart');
  assert.ok(first.retryInMs <= 500);
  const second = await ear.next(
    'state',
    ({ state, retryInMs }) => state === 'reconnecting' && retryInMs > 600,
  );
  assert.equal(second.reason, 'restart');
  assert.ok(second.retryInMs >= 4000 && second.retryInMs <= 5000);
});

test('a relay over TLS cannot talk its clients out of it', async () => {
  const { Api } = await import('../src/api.js');
  const credentials = {
    room: new Uint8Array(16),
    admission: new Uint8Array(32),
    owner: new Uint8Array(16),
    ownerSecret: null,
  };
  for (const [relay, ws, isTaken] of /** @type {const} */ ([
    ['https://a.example', 'wss://a.example/v1/ws', true],
    ['https://a.example', 'ws://a.example/v1/ws', false],
    ['http://a.example', 'ws://a.example/v1/ws', true],
    ['http://a.example', 'wss://a.example/v1/ws', true],
  ])) {
    const answer = () => Promise.resolve(new Response(JSON.stringify({ token: 'a.b.c', ws })));
    const token = new Api(relay, credentials, answer).createToken();
    if (isTaken) assert.equal((await token).ws, ws);
    else await assert.rejects(token, { code: 'bad_answer' });
  }
});
