/** What the page draws, an independent reader reads. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import jsqr from 'jsqr';

import { BYTES_MAX, encode, QUIET, svgPath } from '../qr.js';

/** Pixels per module: what the reader gets is a picture, not our array. */
const SCALE = 3;

/** Most bytes of each version at level M, from the standard's table. */
const CAPACITY = [14, 26, 42, 62, 84, 106, 122, 152, 180, 213, 251, 287, 331, 362, 412];

/** Reads a code with jsQR, from RGBA pixels. */
function read({ size, dark }) {
  const side = (size + 2 * QUIET) * SCALE;
  const pixels = new Uint8ClampedArray(4 * side * side).fill(255);
  const module = (pixel) => Math.floor(pixel / SCALE) - QUIET;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const at = 4 * (y * side + x);
      if (dark[module(y)]?.[module(x)]) pixels.fill(0, at, at + 3);
    }
  }
  return jsqr(pixels, side, side, { inversionAttempts: 'dontInvert' });
}

/** A text of so many ASCII characters that looks like a link; the same for the same length. */
function linkOf(length) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  let state = length + 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return alphabet[state >>> 26];
  };
  return (
    'https://a.b/#1.'.slice(0, length) +
    Array.from({ length: Math.max(0, length - 15) }, next).join('')
  );
}

test('every length up to the limit is read back, with every mask and version', () => {
  const masks = new Set();
  const versions = new Set();
  for (let length = 1; length <= BYTES_MAX; length++) {
    const text = linkOf(length);
    const code = encode(text);
    assert.equal(
      read(code)?.data,
      text,
      `length ${length}, version ${code.version}, mask ${code.mask}`,
    );
    masks.add(code.mask);
    versions.add(code.version);
  }
  assert.equal(masks.size, 8);
  assert.deepEqual(
    [...versions],
    CAPACITY.map((_, i) => i + 1),
  );
});

test('the smallest version that holds the text is taken', () => {
  CAPACITY.forEach((bytes, i) => {
    assert.equal(encode('x'.repeat(bytes)).version, i + 1);
    if (i > 0) assert.equal(encode('x'.repeat(CAPACITY[i - 1] + 1)).version, i + 1);
  });
});

test('text outside ASCII is carried as UTF-8, and its bytes count', () => {
  const text = 'Grüße, 你好 🦦';
  const code = read(encode(text));
  assert.equal(new TextDecoder().decode(Uint8Array.from(code.binaryData)), text);
  assert.equal(encode('é'.repeat(8)).version, 2);
});

test('a text over the limit is refused', () => {
  assert.equal(encode('x'.repeat(BYTES_MAX)).version, 15);
  assert.throws(() => encode('x'.repeat(BYTES_MAX + 1)), RangeError);
});

test('a damaged code is still read: the correction codewords are right', () => {
  const text = linkOf(100);
  const code = encode(text);
  // A blot away from the three corners and the format bits, about a tenth of the code.
  const from = Math.floor(code.size * 0.45);
  for (let y = from; y < from + 12; y++) {
    for (let x = from; x < from + 12; x++) code.dark[y][x] = true;
  }
  assert.equal(read(code)?.data, text);
});

test('the path draws exactly the dark modules, inside the quiet zone', () => {
  const code = encode(linkOf(90));
  const { path, side } = svgPath(code);
  assert.equal(side, code.size + 8);
  const drawn = code.dark.map((row) => row.map(() => false));
  const strokes = [...path.matchAll(/M(\d+) (\d+)h(\d+)v1H(\d+)z/g)];
  assert.equal(strokes.map(([text]) => text).join(''), path);
  for (const [text, ...numbers] of strokes) {
    const [x, y, width, start] = numbers.map(Number);
    assert.equal(start, x, text);
    for (let i = 0; i < width; i++) drawn[y - QUIET][x - QUIET + i] = true;
  }
  assert.deepEqual(drawn, code.dark);
});
