import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pad, paddedLength, payloadLengthMax, unpad } from '../src/padding.js';
import { below, bytes, SEED_NOTE } from './support/dice.js';
import { SIZES } from './support/mesh.js';

test('padding comes off again, whatever the content ends with', () => {
  for (let round = 0; round < 500; round += 1) {
    const content = bytes(below(64));
    // Contents that look like padding themselves.
    if (round % 2 === 0) content.fill(round % 4 === 0 ? 0 : 0x80, content.length >> 1);
    const padded = pad(content, content.length + 1 + below(64));
    assert.deepEqual(unpad(padded), content, SEED_NOTE);
  }
});

test('what has no padding is refused', () => {
  for (const padded of [[], [0], [0, 0, 0], [1], [0x80, 1], [0x80, 0, 0x81, 0]]) {
    assert.equal(unpad(Uint8Array.from(padded)), null, String(padded));
  }
  assert.throws(() => pad(bytes(4), 4), RangeError);
});

test('a size is the smallest bucket that holds it', () => {
  for (const [length, size] of [
    [1, 256],
    [256, 256],
    [257, 1024],
    [65536, 65536],
    [65537, null],
  ]) {
    assert.equal(paddedLength(SIZES, Number(length)), size);
  }
  assert.equal(payloadLengthMax(SIZES), 65536);
});

test('buckets above the limit are not used', () => {
  const sizes = { buckets: [256, 1024, 4096], payloadMax: 2000 };
  assert.equal(paddedLength(sizes, 1024), 1024);
  assert.equal(paddedLength(sizes, 1025), null);
  assert.equal(payloadLengthMax(sizes), 1024);
  assert.equal(payloadLengthMax({ buckets: [256], payloadMax: 100 }), 0);
});

test('a room without buckets pads nothing away', () => {
  const sizes = { buckets: [], payloadMax: 2000 };
  assert.equal(paddedLength(sizes, 1025), 1025);
  assert.equal(paddedLength(sizes, 2001), null);
  assert.equal(payloadLengthMax(sizes), 2000);
});
