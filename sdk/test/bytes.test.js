import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  concat,
  equal,
  fromBase64url,
  fromUtf8,
  readU48,
  readU64,
  toBase64url,
  toHex,
  U48_MAX,
  utf8,
  view,
  writeU48,
} from '../src/bytes.js';
import { below, bytes, SEED_NOTE } from './support/dice.js';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

test('base64url agrees with another implementation and comes back', () => {
  for (let length = 0; length < 200; length += 1) {
    const value = bytes(length);
    const text = toBase64url(value);
    assert.equal(text, Buffer.from(value).toString('base64url'), SEED_NOTE);
    assert.deepEqual(fromBase64url(text, length), value, SEED_NOTE);
  }
});

test('one value has one spelling: of all last letters exactly the canonical ones are taken', () => {
  // One byte: 6 + 2 bits, so 4 of 64 last letters; two bytes: 6 + 6 + 4 bits, so 16 of 64.
  for (const [start, length, taken] of /** @type {const} */ ([
    ['A', 1, 4],
    ['AA', 2, 16],
    ['AAA', 3, 64],
  ])) {
    const good = [...ALPHABET].filter((last) => fromBase64url(start + last, length) !== null);
    assert.equal(good.length, taken);
    for (const last of good) {
      assert.equal(toBase64url(fromBase64url(start + last, length) ?? bytes(0)), start + last);
    }
  }
});

test('what decodes encodes to the same text', () => {
  const letters = `${ALPHABET}=+/ \n`;
  let decoded = 0;
  for (let round = 0; round < 5000; round += 1) {
    const text = Array.from({ length: below(9) }, () => letters[below(letters.length)]).join('');
    const value = fromBase64url(text, 0, 16);
    if (value === null) continue;
    decoded += 1;
    assert.equal(toBase64url(value), text, SEED_NOTE);
  }
  assert.ok(decoded > 100, SEED_NOTE);
});

test('other spellings and lengths are refused', () => {
  const member = 'AAAAAAAAAAA';
  assert.ok(fromBase64url(member, 8));
  for (const other of [
    'AAAAAAAAAAB',
    'AAAAAAAAAAA=',
    'AAAAAAAAAA',
    'AAAAAAAAAAAA',
    'AAAAAAAAAA+',
    'AAAAAAAAAA/',
    ' AAAAAAAAAAA',
    'AAAAAAAAAAA\n',
    'AAAAAAAAAAÁ',
    '',
  ]) {
    assert.equal(fromBase64url(other, 8), null, JSON.stringify(other));
  }
  for (const other of [undefined, null, 8, ['AAAAAAAAAAA'], { length: 11 }]) {
    assert.equal(fromBase64url(other, 8), null);
  }
  assert.equal(fromBase64url('A', 0), null);
  assert.equal(fromBase64url('AAAAA', 0, 8), null);
});

test('integers of 48 bits come back', () => {
  const target = view(new Uint8Array(8));
  for (const value of [0, 1, 255, 2 ** 16, 2 ** 32 - 1, 2 ** 32, 2 ** 47 + 3, U48_MAX]) {
    writeU48(target, 1, value);
    assert.equal(readU48(target, 1), value);
  }
  writeU48(target, 0, 0x0102_0304_0506);
  assert.equal(toHex(new Uint8Array(target.buffer)).slice(0, 12), '010203040506');
});

test('integers of 64 bits are read as long as they are exact', () => {
  const source = view(new Uint8Array(8));
  source.setBigUint64(0, 2n ** 53n - 1n);
  assert.equal(readU64(source, 0), Number.MAX_SAFE_INTEGER);
  source.setBigUint64(0, 2n ** 53n);
  assert.equal(readU64(source, 0), null);
});

test('joining and comparing', () => {
  assert.deepEqual(concat(utf8('a'), new Uint8Array(0), utf8('bc')), utf8('abc'));
  assert.ok(equal(utf8('same'), utf8('same')));
  assert.ok(!equal(utf8('same'), utf8('sane')));
  assert.ok(!equal(utf8('same'), utf8('sam')));
});

test('text that is not UTF-8 is refused, and a byte order mark is kept', () => {
  assert.equal(fromUtf8(Uint8Array.of(0xff)), null);
  assert.equal(fromUtf8(Uint8Array.of(0xed, 0xa0, 0x80)), null);
  assert.equal(fromUtf8(utf8('\ufeffx')), '\ufeffx');
});
