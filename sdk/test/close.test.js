import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { adviceOf, CLOSE_NAMES, hintOf, nameOf } from '../src/close.js';
import { textOf } from '../src/errors.js';

test('the table is the relay’s, number for number and name for name', () => {
  const rust = readFileSync(new URL('../../src/core/close.rs', import.meta.url), 'utf8');
  const numbers = [...rust.matchAll(/^ {4}(\w+) = (\d{4}),$/gm)];
  const names = new Map(
    [...rust.matchAll(/Self::(\w+) => "(\w+)"/g)].map(([, variant, name]) => [variant, name]),
  );
  assert.equal(numbers.length, names.size);
  const table = numbers.map(([, variant, code]) => [Number(code), names.get(variant ?? '')]);
  assert.deepEqual([...CLOSE_NAMES], table);
});

test('the range is the advice', () => {
  for (const code of CLOSE_NAMES.keys()) {
    let advice = 'stop';
    if ([1001, 1012, 1013].includes(code) || Math.floor(code / 100) === 42) advice = 'backoff';
    if (Math.floor(code / 100) === 41) advice = 'fresh_token';
    assert.equal(adviceOf(code), advice, String(code));
  }
  // Of a newer relay.
  assert.equal(adviceOf(4099), 'stop');
  assert.equal(adviceOf(4150), 'fresh_token');
  assert.equal(adviceOf(4299), 'backoff');
  assert.equal(adviceOf(4300), 'stop');
  // What browsers say when nothing was said.
  for (const code of [1005, 1006, 1015]) assert.equal(adviceOf(code), 'backoff');
});

test('every name has a text for people', () => {
  const other = textOf('no such code');
  for (const name of [...CLOSE_NAMES.values(), 'network']) assert.notEqual(textOf(name), other);
  assert.equal(textOf('constructor'), other);
});

test('a code has a name whatever the peer calls it', () => {
  assert.equal(nameOf(4004), 'kicked');
  assert.equal(nameOf(1006), 'network');
  assert.equal(nameOf(4999), 'unknown');
});

test('a hint follows the name', () => {
  assert.equal(hintOf('restart;r=3400'), 3400);
  for (const reason of [
    '',
    'restart',
    'r=5',
    'restart;r=',
    'restart;r=-5',
    'restart;r=5;x',
    'restart;r=5e9',
  ]) {
    assert.equal(hintOf(reason), 0, reason);
  }
  assert.equal(hintOf('restart;r=999999999'), 3_600_000);
});
