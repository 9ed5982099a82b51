import assert from 'node:assert/strict';
import { test } from 'node:test';
import { random } from '../src/bytes.js';
import { bodyLengthMax, KIND, openFrame, parseHead, sealFrame } from '../src/frame.js';
import { createIdentity, deriveSender, importSignPublic } from '../src/keys.js';
import { certify } from '../src/link.js';
import { below, bytes, SEED_NOTE } from './support/dice.js';
import { SIZES } from './support/mesh.js';

const { room, epochKey } = await certify(random(32), random(16));
const identity = await createIdentity();
const sender = await deriveSender(epochKey, random(16));
const signPublic = await importSignPublic(identity.signPublic);
const place = { room, from: random(8) };

/**
 * @param {number} kind
 * @param {Uint8Array<ArrayBuffer>} body
 * @param {number} [counter]
 */
async function seal(kind, body, counter = 5) {
  const frame = { kind, epoch: 0, sender, counter, signKey: identity.signKey, body };
  const payload = await sealFrame(place, frame, SIZES);
  assert.ok(payload);
  return payload;
}

/**
 * @param {Uint8Array<ArrayBuffer>} payload
 * @param {object} [other]
 * @param {import('../src/frame.js').Place} [other.at]
 * @param {import('../src/keys.js').SenderKeys} [other.keys]
 * @param {CryptoKey} [other.key]
 */
async function open(payload, { at = place, keys = sender, key = signPublic } = {}) {
  const head = parseHead(payload);
  return head && (await openFrame(at, head, payload, keys, async () => key));
}

test('every frame has exactly the size of a bucket', async () => {
  for (const length of [0, 1, 8, 157, 158, 900, 4000, 16000, bodyLengthMax(SIZES)]) {
    const payload = await seal(KIND.app, bytes(length));
    assert.ok(SIZES.includes(payload.length), String(payload.length));
  }
  assert.equal((await seal(KIND.app, bytes(157))).length, 256);
  assert.equal((await seal(KIND.app, bytes(158))).length, 1024);
  assert.equal(bodyLengthMax(SIZES), 65536 - 99);
  const body = bytes(bodyLengthMax(SIZES) + 1);
  const frame = { kind: KIND.app, epoch: 0, sender, counter: 0, signKey: identity.signKey, body };
  assert.equal(await sealFrame(place, frame, SIZES), null);
});

test('each byte flipped is refused, of every kind of frame', async () => {
  for (const kind of [KIND.hello, KIND.app]) {
    const payload = await seal(kind, bytes(100));
    assert.ok(await open(payload));
    for (let at = 0; at < payload.length; at += 1) {
      const damaged = payload.slice();
      damaged[at] = (damaged[at] ?? 0) ^ (1 + below(255));
      assert.equal(await open(damaged), null, `byte ${at} of kind ${kind}, ${SEED_NOTE}`);
    }
  }
});

test('cut and lengthened frames are refused', async () => {
  const payload = await seal(KIND.app, bytes(100));
  for (const length of [0, 1, 17, 18, 34, 98, 99, 255]) {
    assert.equal(await open(payload.slice(0, length)), null, String(length));
  }
  const longer = new Uint8Array(payload.length + 1);
  longer.set(payload);
  assert.equal(await open(longer), null);
});

test('a frame belongs to its room, its sender and its keys', async () => {
  const payload = await seal(KIND.app, bytes(10));
  assert.ok(await open(payload));
  const other = await deriveSender(epochKey, random(16));
  assert.equal(await open(payload, { at: { room: random(16), from: place.from } }), null);
  assert.equal(await open(payload, { at: { room, from: random(8) } }), null);
  assert.equal(await open(payload, { keys: other }), null);
});

test('a member cannot speak with another’s signature', async () => {
  const stranger = await createIdentity();
  const key = await importSignPublic(stranger.signPublic);
  assert.equal(await open(await seal(KIND.app, bytes(10)), { key }), null);
});

test('counters end where the nonce does', async () => {
  assert.ok(await seal(KIND.app, bytes(1), 2 ** 48 - 1));
  await assert.rejects(seal(KIND.app, bytes(1), 2 ** 48), RangeError);
});

test('other suites are not frames', async () => {
  const payload = await seal(KIND.app, bytes(10));
  for (const suite of [0, 2, 255]) {
    payload[0] = suite;
    assert.equal(parseHead(payload), null);
  }
});
