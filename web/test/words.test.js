/** Every name that the relay and the SDK can give has its words, and the words tell what to do. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { endingOf, gapText, leaveText, RESET_TEXT, troubleOf, waitingOf } from '../words.js';

const read = (path) => readFile(new URL(path, import.meta.url), 'utf8');

/** The names of the close codes, as the relay spells them. */
async function closeNames() {
  const source = await read('../../src/core/close.rs');
  return [...source.matchAll(/Self::\w+ => "([a-z0-9_]+)"/g)].map(([, name]) => name);
}

/** The names in the section of the SDK's page that begins with these words, to the next empty line. */
async function sdkNames(beginning) {
  const page = await read('../../sdk/README.md');
  const at = page.indexOf(beginning);
  assert.ok(at >= 0, `sdk/README.md has no paragraph "${beginning}"`);
  const section = page.slice(at, page.indexOf('\n\n', at));
  return [...section.matchAll(/`([a-z]\w*)`/g)]
    .map(([, name]) => name)
    .filter((name) => name !== 'state');
}

const nobody = endingOf('a_name_that_nobody_has');

test('every way in which a stay can end has a title, a text and a next step of its own', async () => {
  const names = [...(await closeNames()), ...(await sdkNames('Reasons of `state`'))].filter(
    (name) => name !== 'room',
  );
  assert.ok(
    names.length > 30 && names.includes('heartbeat_lost') && names.includes('admission_failed'),
  );
  for (const name of new Set(names.filter((one) => one !== 'ready'))) {
    const ending = endingOf(name);
    assert.notEqual(ending, nobody, `${name} has no words of its own`);
    assert.ok(ending.title && ending.text, name);
    assert.doesNotMatch(ending.title + ending.text, /_|\d{4}/, `${name} shows a code to a person`);
  }
});

test('what cannot be mended by trying again does not offer it', () => {
  for (const name of [
    'room_closed',
    'kicked',
    'blocked',
    'bad_link',
    'unsupported_browser',
    'insecure_page',
  ]) {
    assert.equal(endingOf(name).retry, false, name);
  }
  for (const name of ['network', 'room_full', 'room_locked', 'overload', 'heartbeat_lost']) {
    assert.equal(endingOf(name).retry, true, name);
  }
});

test('what goes wrong in a room is told, each trouble in its own words', async () => {
  const names = await sdkNames('Codes of `error` events');
  assert.ok(names.includes('undecryptable') && names.includes('messages_lost'));
  const unknown = troubleOf('a_name_that_nobody_has');
  for (const name of names.filter(
    (one) => !['error', 'count', 'iterator_overflow'].includes(one),
  )) {
    assert.notEqual(troubleOf(name), unknown, `${name} has no words of its own`);
  }
});

test('names that every object has are unknown names', () => {
  for (const name of ['constructor', 'toString', '__proto__', '', undefined]) {
    assert.equal(endingOf(name), nobody);
    assert.equal(typeof troubleOf(name), 'string');
    assert.equal(waitingOf(name), 'The connection was lost.');
  }
});

test('a gap says how many are missing, a leaving says how', () => {
  assert.match(gapText(5, 5), /^A message got lost/);
  assert.match(gapText(5, 8), /^4 messages got lost/);
  assert.equal(leaveText('Amber Heron', 'left'), 'Amber Heron left');
  assert.equal(leaveText('Amber Heron', 'lost'), 'Amber Heron lost the connection');
  assert.equal(leaveText('Amber Heron', 'kicked'), 'Amber Heron was removed');
  assert.match(RESET_TEXT, /ask the others/);
});
