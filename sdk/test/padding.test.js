import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pad, paddedLength, sizesOf, unpad } from '../src/padding.js';
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
});

test('sizes are the announced ones, up to the limit', () => {
  assert.deepEqual(sizesOf(SIZES, 65536), SIZES);
  assert.deepEqual(sizesOf(SIZES, 5000), [256, 1024, 4096]);
  assert.deepEqual(sizesOf([300, 600, 1200], 65536), [300, 600, 1200]);
  const doubling = Array.from({ length: 13 }, (_, at) => 256 * 2 ** at);
  assert.deepEqual(sizesOf(doubling, 2 ** 40), doubling);
});

test('a relay cannot switch padding off, nor measure messages with fine buckets', () => {
  for (const announced of [
    [],
    [256, 300],
    [256, 511],
    Array.from({ length: 64 }, (_, at) => at + 200),
    Array.from({ length: 17 }, (_, at) => 2 ** at),
    [100_000],
    [256, 256],
  ]) {
    assert.deepEqual(sizesOf(announced, 65536), SIZES, String(announced));
  }
  assert.deepEqual(sizesOf([], 2000), [256, 1024]);
});
