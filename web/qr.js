/**
 * QR codes, drawn in the page so that a room's link is shown to a camera and to nobody else.
 *
 * Byte mode, error correction level M, versions 1 to 15 (up to 412 bytes), after ISO/IEC 18004.
 * Pure: text in, a square of dark and light modules out, and an SVG path of it.
 */

/** Longest text in UTF-8 bytes: version 15 at level M. */
export const BYTES_MAX = 412;

/** Light modules that a reader needs around the code. */
export const QUIET = 4;

const VERSION_MAX = 15;
/** Of each version, from 1: all codewords, error correction codewords per block, blocks. */
const CODEWORDS = [26, 44, 70, 100, 134, 172, 196, 242, 292, 346, 404, 466, 532, 581, 655];
const CORRECTION = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10];
/** Centres of the alignment patterns, along both axes. */
const ALIGNMENT = [
  [],
  [6, 18],
  [6, 22],
  [6, 26],
  [6, 30],
  [6, 34],
  [6, 22, 38],
  [6, 24, 42],
  [6, 26, 46],
  [6, 28, 50],
  [6, 30, 54],
  [6, 32, 58],
  [6, 34, 62],
  [6, 26, 46, 66],
  [6, 26, 48, 70],
];

/** Where each of the eight masks turns a module over. */
const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/**
 * Encodes a text.
 *
 * @param {string} text at most `BYTES_MAX` bytes of UTF-8
 * @returns {{version: number, mask: number, size: number, dark: boolean[][]}} `dark[y][x]`, without the quiet zone
 * @throws {RangeError} when the text is too long
 */
export function encode(text) {
  const bytes = new TextEncoder().encode(text);
  const version = smallestVersion(bytes.length);
  const blank = patterns(version);
  place(blank, interleave(version, dataCodewords(version, bytes)));
  const candidates = MASKS.map((_, mask) => masked(blank, mask));
  const scores = candidates.map(penalty);
  const mask = scores.indexOf(Math.min(...scores));
  return { version, mask, size: blank.size, dark: candidates[mask] };
}

/**
 * The dark modules as one SVG path, a module being one unit and the quiet zone included.
 *
 * @param {{size: number, dark: boolean[][]}} code
 * @returns {{path: string, side: number}} `side` is the width and height of the view box
 */
export function svgPath({ size, dark }) {
  const strokes = [];
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (!dark[y][x]) continue;
      const start = x;
      while (x + 1 < size && dark[y][x + 1]) x++;
      strokes.push(`M${start + QUIET} ${y + QUIET}h${x - start + 1}v1H${start + QUIET}z`);
    }
  }
  return { path: strokes.join(''), side: size + 2 * QUIET };
}

/** Bits of the field that says how many bytes follow. */
const lengthBits = (version) => (version < 10 ? 8 : 16);

const dataLength = (version) =>
  CODEWORDS[version - 1] - CORRECTION[version - 1] * BLOCKS[version - 1];

function smallestVersion(length) {
  for (let version = 1; version <= VERSION_MAX; version++) {
    if (4 + lengthBits(version) + 8 * length <= 8 * dataLength(version)) return version;
  }
  throw new RangeError(`a QR code of version ${VERSION_MAX} holds at most ${BYTES_MAX} bytes`);
}

/** Mode, length, bytes, terminator, and the padding that fills the version. */
function dataCodewords(version, bytes) {
  const bits = [];
  const push = (value, count) => {
    for (let i = count - 1; i >= 0; i--) bits.push((value >> i) & 1);
  };
  push(0b0100, 4);
  push(bytes.length, lengthBits(version));
  for (const byte of bytes) push(byte, 8);

  const capacity = 8 * dataLength(version);
  push(0, Math.min(4, capacity - bits.length));
  push(0, (8 - (bits.length % 8)) % 8);
  for (let pad = 0xec; bits.length < capacity; pad ^= 0xec ^ 0x11) push(pad, 8);

  const out = new Uint8Array(capacity / 8);
  bits.forEach((bit, i) => {
    out[i >> 3] |= bit << (7 - (i & 7));
  });
  return out;
}

/** Cuts the data into blocks, adds each one's correction, and deals them out column by column. */
function interleave(version, data) {
  const count = BLOCKS[version - 1];
  const correction = CORRECTION[version - 1];
  const short = Math.floor(data.length / count);
  const longBlocks = data.length % count;
  const generator = generatorPolynomial(correction);

  const blocks = [];
  for (let i = 0, at = 0; i < count; i++) {
    const length = short + (i < count - longBlocks ? 0 : 1);
    const part = data.subarray(at, at + length);
    at += length;
    blocks.push({ data: part, correction: remainder(part, generator) });
  }
  const out = [];
  for (let i = 0; i <= short; i++) {
    for (const block of blocks) if (i < block.data.length) out.push(block.data[i]);
  }
  for (let i = 0; i < correction; i++) {
    for (const block of blocks) out.push(block.correction[i]);
  }
  return out;
}

/** Product in GF(256) with the polynomial 0x11D. */
function multiply(a, b) {
  let product = 0;
  for (let i = 7; i >= 0; i--) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    product ^= ((b >> i) & 1) * a;
  }
  return product;
}

/** Coefficients of (x - 2^0)…(x - 2^(degree-1)), highest first, without the leading one. */
function generatorPolynomial(degree) {
  const coefficients = new Uint8Array(degree);
  coefficients[degree - 1] = 1;
  for (let i = 0, root = 1; i < degree; i++, root = multiply(root, 2)) {
    for (let j = 0; j < degree; j++) {
      coefficients[j] = multiply(coefficients[j], root) ^ (coefficients[j + 1] ?? 0);
    }
  }
  return coefficients;
}

function remainder(data, generator) {
  const rest = new Uint8Array(generator.length);
  for (const byte of data) {
    const factor = byte ^ rest[0];
    rest.copyWithin(0, 1);
    rest[rest.length - 1] = 0;
    generator.forEach((coefficient, i) => {
      rest[i] ^= multiply(coefficient, factor);
    });
  }
  return rest;
}

/** The modules that every code of a version shares; `fixed` marks those that carry no data. */
function patterns(version) {
  const size = 17 + 4 * version;
  const grid = () => Array.from({ length: size }, () => new Array(size).fill(false));
  const code = { version, size, dark: grid(), fixed: grid() };
  for (let i = 0; i < size; i++) {
    set(code, 6, i, i % 2 === 0);
    set(code, i, 6, i % 2 === 0);
  }
  for (const [x, y] of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ])
    rings(code, x, y, 4);
  const centres = ALIGNMENT[version - 1];
  const [first, last] = [centres.at(0), centres.at(-1)];
  for (const x of centres) {
    for (const y of centres) {
      const inFinder = (x === first && (y === first || y === last)) || (x === last && y === first);
      if (!inFinder) rings(code, x, y, 2);
    }
  }
  writeFormat(code, 0);
  if (version >= 7) writeVersion(code);
  return code;
}

function set(code, x, y, dark) {
  code.dark[y][x] = dark;
  code.fixed[y][x] = true;
}

/** A square of rings around a centre: finder patterns (with their separator) and alignment patterns. */
function rings(code, centreX, centreY, radius) {
  for (let dy = -radius; dy <= radius; dy++) {
    for (let dx = -radius; dx <= radius; dx++) {
      const x = centreX + dx;
      const y = centreY + dy;
      if (x < 0 || y < 0 || x >= code.size || y >= code.size) continue;
      const ring = Math.max(Math.abs(dx), Math.abs(dy));
      set(code, x, y, radius === 4 ? ring !== 2 && ring !== 4 : ring !== 1);
    }
  }
}

/** Level M and the mask, as 15 bits of a BCH code, in their two places. */
function writeFormat(code, mask) {
  const data = mask; // Level M is 00, in front of the mask's three bits.
  let rest = data;
  for (let i = 0; i < 10; i++) rest = (rest << 1) ^ ((rest >> 9) * 0x537);
  const bits = ((data << 10) | rest) ^ 0x5412;
  const bit = (i) => ((bits >> i) & 1) === 1;
  const { size } = code;
  for (let i = 0; i < 6; i++) set(code, 8, i, bit(i));
  set(code, 8, 7, bit(6));
  set(code, 8, 8, bit(7));
  set(code, 7, 8, bit(8));
  for (let i = 9; i < 15; i++) set(code, 14 - i, 8, bit(i));
  for (let i = 0; i < 8; i++) set(code, size - 1 - i, 8, bit(i));
  for (let i = 8; i < 15; i++) set(code, 8, size - 15 + i, bit(i));
  set(code, 8, size - 8, true);
}

/** The version, as 18 bits of a Golay code, in its two places. */
function writeVersion(code) {
  let rest = code.version;
  for (let i = 0; i < 12; i++) rest = (rest << 1) ^ ((rest >> 11) * 0x1f25);
  const bits = (code.version << 12) | rest;
  for (let i = 0; i < 18; i++) {
    const dark = ((bits >> i) & 1) === 1;
    const far = code.size - 11 + (i % 3);
    const near = Math.floor(i / 3);
    set(code, far, near, dark);
    set(code, near, far, dark);
  }
}

/** Lays the codewords in columns of two, upwards and downwards in turn, around what is fixed. */
function place(code, codewords) {
  let i = 0;
  for (let right = code.size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    const upwards = ((right + 1) & 2) === 0;
    for (let step = 0; step < code.size; step++) {
      const y = upwards ? code.size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (code.fixed[y][x] || i >= codewords.length * 8) continue;
        code.dark[y][x] = ((codewords[i >> 3] >> (7 - (i & 7))) & 1) === 1;
        i++;
      }
    }
  }
}

function masked(code, mask) {
  const flip = MASKS[mask];
  const dark = code.dark.map((row, y) =>
    row.map((module, x) => (code.fixed[y][x] ? module : module !== flip(x, y))),
  );
  writeFormat({ size: code.size, dark, fixed: code.fixed }, mask);
  return dark;
}

/** How hard a code is to read: the lower, the better. */
function penalty(dark) {
  const size = dark.length;
  const columns = dark.map((_, x) => dark.map((row) => row[x]));
  let score = 0;
  for (const line of [...dark, ...columns]) score += runs(line) + finderLookalikes(line);
  for (let y = 0; y + 1 < size; y++) {
    for (let x = 0; x + 1 < size; x++) {
      const here = dark[y][x];
      if (here === dark[y][x + 1] && here === dark[y + 1][x] && here === dark[y + 1][x + 1])
        score += 3;
    }
  }
  const darkModules = dark.flat().filter(Boolean).length;
  return score + 10 * Math.floor(Math.abs((100 * darkModules) / (size * size) - 50) / 5);
}

/** Three points for five equal modules in a row, one for each more. */
function runs(line) {
  let score = 0;
  for (let i = 0; i < line.length; ) {
    let end = i;
    while (end < line.length && line[end] === line[i]) end++;
    if (end - i >= 5) score += end - i - 2;
    i = end;
  }
  return score;
}

/** Forty points for each dark-light 1:1:3:1:1 that has four light modules on one side. */
function finderLookalikes(line) {
  let score = 0;
  const text = line.map(Number).join('');
  for (let at = text.indexOf('1011101'); at >= 0; at = text.indexOf('1011101', at + 1)) {
    const before = text.slice(Math.max(0, at - 4), at);
    const after = text.slice(at + 7, at + 11);
    if (!before.includes('1') || !after.includes('1')) score += 40;
  }
  return score;
}
