/** Names are the same everywhere for the same id, and different within a room. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Names, nameOf, TINTS } from '../names.js';

/** Ids as the protocol writes them: 11 characters of base64url. */
const ids = (count) =>
  Array.from({ length: count }, (_, i) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE((BigInt(i) * 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn);
    return bytes.toString('base64url');
  });

test('an id has one name, in every browser', () => {
  const id = 'AAECAwQFBgc';
  assert.deepEqual(nameOf(id), nameOf(id));
  assert.match(nameOf(id).name, /^[A-Z][a-z]+ [A-Z][a-z]+$/);
  assert.match(nameOf(id).initials, /^[A-Z]{2}$/);
});

test('two members of a room never share a name', () => {
  const names = new Names();
  const all = ids(2000);
  const seen = new Set(all.map((id) => names.of(id).name));
  assert.equal(seen.size, all.length);
  assert.equal(names.of(all[7]).name, names.of(all[7]).name);
});

test('a name is free again when its member has left', () => {
  const names = new Names();
  const [id, twin] = firstTwins(ids(20_000));
  assert.equal(`${names.of(id).name} 2`, names.of(twin).name);
  names.forget(id);
  assert.equal(names.of(id).name, nameOf(id).name);
  names.forget('never-seen');
});

/** Two ids that have the same name when nobody else is there. */
function firstTwins(all) {
  const byName = new Map();
  for (const id of all) {
    const { name } = nameOf(id);
    if (byName.has(name)) return [byName.get(name), id];
    byName.set(name, id);
  }
  throw new Error('no two of these ids share a name');
}

test('names and colours are spread: most of them occur among many members', () => {
  const found = ids(20_000).map(nameOf);
  assert.ok(new Set(found.map((one) => one.name)).size > 3900, 'of 4096 names');
  const tints = found.map((one) => one.tint);
  assert.deepEqual(
    [...new Set(tints)].sort(),
    Array.from({ length: TINTS }, (_, i) => i),
  );
});
