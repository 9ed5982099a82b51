import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { toBase64url, toHex } from '../src/bytes.js';
import { KIND, nonceOf, openFrame, parseHead, sealFrame } from '../src/frame.js';
import { encodeHello, parseHello } from '../src/hello.js';
import { deriveSender, importSignPublic } from '../src/keys.js';
import { certify, formatLink, ownerHash, parseLink } from '../src/link.js';
import { encodeBody, parseBody } from '../src/message.js';
import { verificationOf } from '../src/verify.js';
import { makeVectors } from './support/make-vectors.js';
import { SIZES } from './support/mesh.js';

const link = read('link.json');
const e2ee = read('e2ee.json');

test('links stand for what the vectors say', async () => {
  for (const vector of link.cases) {
    const secret = hex(vector.secret);
    const owner = await ownerHash(hex(vector.owner_secret));
    assert.equal(toHex(owner), vector.owner_hash);
    const { room, admission, epochKey } = await certify(secret, owner);
    assert.equal(toHex(admission), vector.admission_key);
    assert.equal(toHex(room), vector.room);
    assert.equal(toBase64url(room), vector.room_b64url);
    assert.equal(formatLink({ app: 'https://chat.example/', secret, owner }), vector.link);
    assert.deepEqual(parseLink(vector.link), { app: 'https://chat.example/', secret, owner });
    // The room's key cannot be read, so compare what follows from it.
    const expected = await importEpochKey(vector.room_key);
    const sid = hex(e2ee.sid);
    const [ours, theirs] = [await deriveSender(epochKey, sid), await deriveSender(expected, sid)];
    assert.deepEqual(ours.commitment, theirs.commitment);
    assert.equal(epochKey.extractable, false);
    assert.equal(ours.key.extractable, false);
  }
});

test('the vectors are what the second implementation makes', () => {
  assert.deepEqual(e2ee, JSON.parse(JSON.stringify(makeVectors())));
});

test('a sender’s keys are those of the vectors', async () => {
  const sender = await deriveSender(await importEpochKey(e2ee.room_key), hex(e2ee.sid));
  assert.equal(toHex(sender.salt), e2ee.salt);
  assert.equal(toHex(sender.commitment), e2ee.commitment);
  for (const { counter, nonce } of e2ee.nonces) {
    assert.equal(toHex(nonceOf(sender.salt, counter)), nonce, String(counter));
  }
});

test('frames are sealed to the byte, and open', async () => {
  const sender = await deriveSender(await importEpochKey(e2ee.room_key), hex(e2ee.sid));
  const place = { room: hex(e2ee.room), from: hex(e2ee.from) };
  const signKey = await importSeed(e2ee.ed25519_seed);
  const signPublic = await importSignPublic(hex(e2ee.ed25519_public));
  for (const { name, kind, counter, body, payload } of e2ee.frames) {
    const frame = { kind, epoch: 0, sender, counter, signKey, body: hex(body) };
    const sealed = await sealFrame(place, frame, SIZES);
    assert.equal(sealed && toHex(sealed), payload, name);
    const head = parseHead(hex(payload));
    assert.ok(head, name);
    assert.equal(head.kind, kind);
    assert.equal(head.counter, counter);
    const opened = await openFrame(place, head, hex(payload), sender, async () => signPublic);
    assert.equal(opened && toHex(opened), body, name);
  }
});

test('bodies mean what the vectors were made of', () => {
  const bodies = e2ee.frames.map((/** @type {any} */ { kind, body }) =>
    kind === KIND.hello ? parseHello(hex(body)) : parseBody(hex(body)),
  );
  const [toAll, answer, text, json, volatile, empty] = bodies;
  assert.equal(toAll.answer, null);
  assert.equal(toHex(answer.answer), 'd0d1d2d3d4d5d6d7d8d9dadbdcdddedf');
  assert.deepEqual([answer.generation, answer.since, answer.sent], [1, 2, 3]);
  assert.equal(toHex(encodeHello(answer)), e2ee.frames[1].body);
  const direct = { to: null, volatile: false };
  assert.deepEqual(text, { ...direct, kind: 'text', number: 1, data: 'Lethe, Λήθη' });
  assert.deepEqual(json, {
    ...direct,
    kind: 'json',
    number: 1,
    to: 'ERITFBUWFxg',
    data: { a: [1, null] },
  });
  assert.equal(volatile.volatile, true);
  assert.deepEqual(volatile.data, hex('00ff80'));
  assert.deepEqual(empty.data, hex(''));
  const content = {
    kind: /** @type {const} */ ('json'),
    data: hex(Buffer.from('{"a":[1,null]}').toString('hex')),
  };
  const envelope = { to: 'ERITFBUWFxg', volatile: false, number: 1 };
  assert.equal(toHex(encodeBody(content, envelope)), e2ee.frames[3].body);
});

test('words, digits and fingerprint are those of the vectors, in whatever order keys come', async () => {
  const { epoch, sign_publics, ...expected } = e2ee.verification;
  const keys = sign_publics.map(hex);
  assert.deepEqual(await verificationOf(hex(e2ee.room), epoch, keys), expected);
  assert.deepEqual(await verificationOf(hex(e2ee.room), epoch, keys.reverse()), expected);
});

/** @param {string} name */
function read(name) {
  const url = new URL(`../../tests/vectors/${name}`, import.meta.url);
  return JSON.parse(readFileSync(url, 'utf8'));
}

/** @param {string} text */
function hex(text) {
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** @param {string} key */
function importEpochKey(key) {
  return crypto.subtle.importKey('raw', hex(key), 'HKDF', false, ['deriveBits', 'deriveKey']);
}

/** @param {string} seed */
function importSeed(seed) {
  const pkcs8 = hex(`302e020100300506032b657004220420${seed}`);
  return crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign']);
}
