import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReplayWindow } from '../src/replay.js';
import { below, SEED_NOTE } from './support/dice.js';

test('it agrees with a set that remembers everything', () => {
  for (let round = 0; round < 100; round += 1) {
    const floor = below(3) * 10;
    const window = new ReplayWindow(floor);
    /** @type {Set<number>} */
    const seen = new Set();
    let highest = -1;
    for (let step = 0; step < 300; step += 1) {
      const counter = Math.max(0, highest + below(150) - 120 + below(3) * 40);
      const expected = counter >= floor && !seen.has(counter) && counter > highest - 64;
      assert.equal(window.accepts(counter), expected, `${counter} of ${highest}, ${SEED_NOTE}`);
      // Asking changes nothing.
      assert.equal(window.accepts(counter), expected);
      if (!expected) continue;
      window.mark(counter);
      seen.add(counter);
      highest = Math.max(highest, counter);
    }
  }
});

test('every order within the window is taken once', () => {
  const window = new ReplayWindow(0);
  const order = Array.from({ length: 64 }, (_, at) => (at * 37) % 64);
  for (const counter of order) {
    assert.ok(window.accepts(counter));
    window.mark(counter);
  }
  for (const counter of order) assert.ok(!window.accepts(counter));
  assert.ok(window.accepts(64));
});

test('what fell out of the window stays out', () => {
  const window = new ReplayWindow(0);
  window.mark(0);
  window.mark(100);
  assert.ok(!window.accepts(0));
  assert.ok(!window.accepts(36));
  assert.ok(window.accepts(37));
});

test('large steps forget no counter that is still in reach', () => {
  const window = new ReplayWindow(0);
  window.mark(2 ** 40);
  assert.ok(!window.accepts(2 ** 40));
  assert.ok(window.accepts(2 ** 40 - 1));
  assert.ok(window.accepts(2 ** 40 + 1));
});

test('a floor only goes up', () => {
  const window = new ReplayWindow(5);
  window.raise(10);
  window.raise(7);
  assert.ok(!window.accepts(9));
  assert.ok(window.accepts(10));
});
