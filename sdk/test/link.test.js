import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LethewireError } from '../src/errors.js';
import { joinRoom } from '../src/index.js';
import { formatLink, parseLink } from '../src/link.js';
import { bytes } from './support/dice.js';

const SECRET = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8';
const OWNER = 'D1ZVk44JM7QVgejv9qRC-A';
const GOOD = `https://chat.example/#1.${SECRET}.${OWNER}`;

test('a link comes back', () => {
  for (const app of ['https://chat.example/', 'http://127.0.0.1:8080/a?b', '']) {
    const parts = { app, secret: bytes(32), owner: bytes(16) };
    assert.deepEqual(parseLink(formatLink(parts)), parts);
  }
  assert.equal(formatLink(parseLink(GOOD)), GOOD);
  assert.equal(formatLink(parseLink(`\n ${GOOD}\t`)), GOOD);
});

test('a fragment of the app is not doubled', () => {
  const link = formatLink({ app: 'https://a.example/#old', secret: bytes(32), owner: bytes(16) });
  assert.ok(link.startsWith('https://a.example/#1.'));
});

/** @type {[string, RegExp][]} */
const BAD = [
  ['', /incomplete/],
  ['https://chat.example/', /incomplete/],
  ['https://chat.example/#', /incomplete/],
  [`ftp://chat.example/#1.${SECRET}.${OWNER}`, /https/],
  [`javascript:alert(1)#1.${SECRET}.${OWNER}`, /https/],
  [`https://chat.example/#2.${SECRET}.${OWNER}`, /version/],
  [`https://chat.example/#about`, /not the link/],
  [`https://chat.example/#1.${SECRET}`, /damaged/],
  [`https://chat.example/#1.${SECRET}.`, /damaged/],
  [`https://chat.example/#1.${SECRET.slice(1)}.${OWNER}`, /damaged/],
  [`https://chat.example/#1.${SECRET}.${OWNER.slice(0, -1)}`, /damaged/],
  [`https://chat.example/#1.${SECRET}.${OWNER}.x`, /damaged/],
  [`https://chat.example/#1.${SECRET}.${OWNER}=`, /damaged/],
  // Not canonical: the same bytes, spelt in another way.
  [`https://chat.example/#1.${SECRET.slice(0, -1)}9.${OWNER}`, /damaged/],
  [`https://chat.example/#1.${SECRET}.${OWNER.slice(0, -1)}B`, /damaged/],
  [`https://chat.example/#1.${SECRET}.${OWNER}${'A'.repeat(5000)}`, /too long/],
];

test('a wrong link is refused in plain words, and what it holds is not repeated', async () => {
  for (const [link, words] of BAD) {
    const check = (/** @type {unknown} */ error) => {
      assert.ok(error instanceof LethewireError);
      assert.equal(error.code, 'bad_link');
      assert.match(error.message, words, link);
      assert.ok(!error.message.includes(SECRET.slice(1, 9)));
      return true;
    };
    assert.throws(() => parseLink(link), check);
    await assert.rejects(joinRoom(link), check);
  }
  // @ts-expect-error Not a text.
  assert.throws(() => parseLink(undefined), { code: 'bad_link' });
});

test('a link without a page needs a relay', async () => {
  await assert.rejects(joinRoom(`#1.${SECRET}.${OWNER}`), { code: 'bad_link' });
  await assert.rejects(joinRoom(GOOD, { relay: 'relay.example' }), { code: 'bad_argument' });
});

test('a wrong owner secret is found out before anything is sent', async () => {
  for (const ownerSecret of ['x', SECRET, 'ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj9']) {
    await assert.rejects(joinRoom(GOOD, { ownerSecret }), { code: 'not_owner' });
  }
});

test('links are made of 32 and 16 bytes', () => {
  for (const [secret, owner] of [
    [31, 16],
    [32, 15],
  ]) {
    const parts = { app: '', secret: bytes(Number(secret)), owner: bytes(Number(owner)) };
    assert.throws(() => formatLink(parts), { code: 'bad_argument' });
  }
});
