import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verificationOf, wordOf } from '../src/verify.js';
import { bytes } from './support/dice.js';

test('there are 2048 words, each of them its own, all of five letters that can be said', () => {
  const words = Array.from({ length: 2048 }, (_, index) => wordOf(index));
  assert.equal(new Set(words).size, 2048);
  for (const word of words) {
    assert.match(word, /^[bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][ao][bdfghjklmnprstvz]$/);
  }
});

test('one sound misheard gives no word', () => {
  const words = new Set(Array.from({ length: 2048 }, (_, index) => wordOf(index)));
  const letters = 'bdfghjklmnprstvzaiou';
  for (const word of words) {
    for (let at = 0; at < word.length; at += 1) {
      for (const letter of letters) {
        if (letter === word[at]) continue;
        const misheard = word.slice(0, at) + letter + word.slice(at + 1);
        assert.ok(!words.has(misheard), `${word} and ${misheard}`);
      }
    }
  }
});

test('everything that counts changes all of it', async () => {
  const [room, alice, bob] = [bytes(16), bytes(32), bytes(32)];
  const all = await Promise.all([
    verificationOf(room, 0, [alice, bob]),
    verificationOf(room, 0, [alice]),
    verificationOf(room, 0, [alice, bytes(32)]),
    verificationOf(room, 1, [alice, bob]),
    verificationOf(bytes(16), 0, [alice, bob]),
  ]);
  for (const { words, digits, fingerprint } of all) {
    assert.equal(words.length, 8);
    assert.match(digits, /^\d{60}$/);
    assert.match(fingerprint, /^[0-9a-f]{64}$/);
  }
  for (const part of /** @type {const} */ (['words', 'digits', 'fingerprint'])) {
    assert.equal(new Set(all.map((verification) => String(verification[part]))).size, all.length);
  }
});
