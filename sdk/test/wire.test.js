import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../src/bytes.js';
import { encodeFrame, isMember, memberBytes, parseControl, parseDelivery } from '../src/wire.js';

const MEMBER = 'AQIDBAUGBwg';
const payload = Uint8Array.of(0x78);

test('frames to the relay have the documented bytes', () => {
  const hex = (/** @type {Parameters<typeof encodeFrame>[0]} */ frame) => toHex(encodeFrame(frame));
  assert.equal(hex({ ref: 7, payload }), '0100000778');
  assert.equal(hex({ ref: 7, ack: true, volatile: true, payload }), '0105000778');
  assert.equal(hex({ ref: 0x102, echo: true, payload }), '0102010278');
  assert.equal(hex({ ref: 256, to: MEMBER, payload }), '02000100010203040506070878');
  assert.throws(() => memberBytes('AQIDBAUGBw'), RangeError);
});

const HEAD = '81020000' + '0102030405060708' + '0000000000000102';

test('frames from the relay are understood', () => {
  const delivery = { from: MEMBER, seq: 258, payload };
  assert.deepEqual(parse(`${HEAD}78`), { ...delivery, direct: false, own: true, volatile: false });
  const direct = parse(`${HEAD}78`.replace('8102', '8204'));
  assert.deepEqual(direct, { ...delivery, direct: true, own: false, volatile: true });
});

test('anything else is not a frame', () => {
  for (const other of [
    '',
    HEAD,
    HEAD.slice(0, -2),
    HEAD + '78'.repeat(1024 * 1024 + 1),
    `${HEAD}78`.replace('8102', '8302'),
    `${HEAD}78`.replace('8102', '0102'),
    `${HEAD}78`.replace('8102', '8101'),
    `${HEAD}78`.replace('8102', '8108'),
    `${HEAD}78`.replace('81020000', '81020001'),
    `${HEAD}78`.replace('0000000000000102', '0020000000000000'),
  ]) {
    assert.equal(parse(other), null, other.slice(0, 80));
  }
});

test('member ids have one spelling', () => {
  assert.ok(isMember(MEMBER));
  for (const other of ['AQIDBAUGBwl', 'AQIDBAUGBwg=', 'AQIDBAUG', '', 5, undefined]) {
    assert.ok(!isMember(other));
  }
});

const LIMITS = {
  payload_bytes: 65536,
  members: 64,
  messages: [300, 10],
  bytes: [16777216, 10],
  heartbeat_s: 25,
};
const WELCOME = {
  type: 'welcome',
  v: 1,
  member: MEMBER,
  epoch: 'AAAAAAAAAAA',
  seq: 41,
  members: ['AAAAAAAAAAA', MEMBER],
  cap: 'sr',
  locked: false,
  ttl_s: 86000,
  limits: LIMITS,
  padding: [1024, 256],
};

test('a welcome is understood, with what is new in it ignored', () => {
  const welcome = parseControl(
    JSON.stringify({ ...WELCOME, padding_policy: 'warn', color: 'blue' }),
  );
  assert.ok(welcome && welcome !== 'unknown' && welcome.type === 'welcome');
  assert.deepEqual(welcome.members, ['AAAAAAAAAAA']);
  assert.deepEqual(welcome.padding, [256, 1024]);
  assert.equal(welcome.seq, 41);
  assert.ok(!('color' in welcome) && !('padding_policy' in welcome));
});

test('a welcome that is not one is refused', () => {
  for (const change of [
    { v: 2 },
    { member: 'x' },
    { members: ['x'] },
    { members: 'AAAAAAAAAAA' },
    { members: Array(10_001).fill(MEMBER) },
    { seq: -1 },
    { seq: 0.5 },
    { epoch: 'A'.repeat(65) },
    { cap: undefined },
    { locked: 'no' },
    { limits: undefined },
    { limits: { ...LIMITS, messages: [0, 10] } },
    { limits: { ...LIMITS, bytes: [5] } },
    { limits: { ...LIMITS, payload_bytes: '5' } },
    // Timers take such times for none at all.
    { limits: { ...LIMITS, heartbeat_s: 10_000_000 } },
    { limits: { ...LIMITS, heartbeat_s: 0 } },
    { color: 'x'.repeat(400_000) },
    { padding: [0] },
    { padding: ['256'] },
    { padding: Array(65).fill(256) },
  ]) {
    const text = JSON.stringify({ ...WELCOME, ...change });
    assert.equal(parseControl(text), null, JSON.stringify(change).slice(0, 80));
  }
});

test('the other control frames are understood', () => {
  for (const [text, control] of /** @type {[string, object][]} */ ([
    [`{"type":"join","member":"${MEMBER}","seq":42}`, { type: 'join', member: MEMBER, seq: 42 }],
    [
      `{"type":"leave","member":"${MEMBER}","seq":43,"why":"kicked"}`,
      { type: 'leave', member: MEMBER, seq: 43, why: 'kicked' },
    ],
    [
      `{"type":"leave","member":"${MEMBER}","seq":43,"why":"abducted"}`,
      { type: 'leave', member: MEMBER, seq: 43, why: 'lost' },
    ],
    ['{"type":"ack","ref":7,"seq":44}', { type: 'ack', ref: 7, seq: 44 }],
    [
      '{"type":"error","code":"rate_limited","ref":7,"retry_after_ms":1200}',
      { type: 'error', code: 'rate_limited', ref: 7, retryAfterMs: 1200 },
    ],
    [
      '{"type":"error","code":"not_permitted"}',
      { type: 'error', code: 'not_permitted', ref: null, retryAfterMs: 0 },
    ],
    ['{"type":"gap","from":45,"to":47}', { type: 'gap', from: 45, to: 47, members: null }],
    [
      `{"type":"gap","from":45,"to":44,"members":["${MEMBER}"]}`,
      { type: 'gap', from: 45, to: 44, members: [MEMBER] },
    ],
    ['{"type":"reset","epoch":"x","seq":0}', { type: 'reset', epoch: 'x', seq: 0, members: null }],
    [
      `{"type":"reset","epoch":"x","seq":3,"members":["${MEMBER}"]}`,
      { type: 'reset', epoch: 'x', seq: 3, members: [MEMBER] },
    ],
    ['{"type":"paused"}', { type: 'paused' }],
    ['{"type":"resumed"}', { type: 'resumed' }],
    ['{"type":"room","locked":true,"ttl_s":5}', { type: 'room', locked: true }],
    ['{"type":"closed"}', { type: 'closed' }],
    ['{"type":"drain","reconnect_after_ms":3400}', { type: 'drain', reconnectAfterMs: 3400 }],
    ['{"type":"pong","n":1}', { type: 'pong', n: 1 }],
  ])) {
    assert.deepEqual(parseControl(text), control);
  }
});

test('types of a newer relay are ignored, what is malformed is refused', () => {
  assert.equal(parseControl('{"type":"weather","n":1}'), 'unknown');
  assert.equal(parseControl('{"type":"constructor"}'), 'unknown');
  for (const text of [
    '',
    'welcome',
    '5',
    'null',
    '[]',
    '{}',
    '{"type":5}',
    '{"type":"join","member":"x","seq":1}',
    `{"type":"join","member":"${MEMBER}"}`,
    '{"type":"ack","ref":7}',
    '{"type":"gap","from":5,"to":3}',
    '{"type":"gap","from":5,"to":6,"members":["x"]}',
    '{"type":"reset","epoch":"x","seq":0,"members":"all"}',
    '{"type":"error","code":"<b>you</b>","ref":7}',
    '{"type":"error"}',
    '{"type":"reset","epoch":5,"seq":0}',
    '{"type":"room","locked":1}',
    '{"type":"drain","reconnect_after_ms":-1}',
    '{"type":"pong"}',
  ]) {
    assert.equal(parseControl(text), null, text);
  }
});

/** @param {string} hex */
function parse(hex) {
  const bytes = new Uint8Array(Buffer.from(hex, 'hex'));
  return parseDelivery(bytes.buffer);
}
