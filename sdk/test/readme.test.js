import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import WebSocket from 'ws';
import { CLOSE_NAMES } from '../src/close.js';
import { textOf } from '../src/errors.js';
import * as sdk from '../src/index.js';
import { Relay } from './support/relay.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

test('the example of the README runs as it stands', { timeout: 60_000 }, async (t) => {
  const relay = await Relay.start(t);
  const [, example = ''] = /```js\n([\s\S]*?)```/.exec(readme) ?? [];
  const [, body = ''] = /from 'lethewire';\n([\s\S]*)$/.exec(example) ?? [];
  assert.ok(body.length > 500 && body.trim().split('\n').length <= 20);
  /** @type {unknown[][]} */
  const printed = [];
  const console = { log: (/** @type {unknown[]} */ ...words) => printed.push(words) };
  // A platform that has a WebSocket.
  const original = globalThis.WebSocket;
  Object.assign(globalThis, { WebSocket });
  t.after(() => Object.assign(globalThis, { WebSocket: original }));
  const source = body.replaceAll('http://127.0.0.1:8080', relay.url);
  const run = new Function(
    'createRoom',
    'joinRoom',
    'console',
    `return (async () => {${source}})()`,
  );
  await run(sdk.createRoom, sdk.joinRoom, console);
  const [said, looped] = printed;
  assert.deepEqual(said?.slice(1), ['says', { thanks: true }]);
  assert.deepEqual(looped?.slice(1), ['json', { thanks: true }]);
  assert.equal(typeof looped?.[0], 'number');
});

test("the project's README shows the same example", () => {
  const project = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const [example] = /```js\n[\s\S]*?```/.exec(readme) ?? ['none'];
  assert.ok(project.includes(example));
});

test('the README names every code, and every code has a text', () => {
  const errors = readFileSync(new URL('../src/errors.js', import.meta.url), 'utf8');
  const known = [...errors.matchAll(/^ {2}([a-z0-9_]+):/gm)].map(([, code]) => code ?? '');
  for (const code of [...known, ...CLOSE_NAMES.values()]) {
    assert.ok(readme.includes(`\`${code}\``), `README.md does not name ${code}`);
    assert.ok(known.includes(code), `errors.js has no text for ${code}`);
  }
  const sources = readdirSync(new URL('../src/', import.meta.url));
  const used = sources.flatMap((name) => {
    const source = readFileSync(new URL(`../src/${name}`, import.meta.url), 'utf8');
    return [...source.matchAll(/(?:LethewireError|CallError|problem|emitProblem)\('([a-z_]+)'/g)];
  });
  assert.ok(used.length > 20);
  for (const [, code = ''] of used) assert.notEqual(textOf(code), textOf('no such code'), code);
});

test('what is exported is what the README says', () => {
  assert.deepEqual(Object.keys(sdk).sort(), [
    'LethewireError',
    'Room',
    'createRoom',
    'formatLink',
    'isSupported',
    'joinRoom',
    'parseLink',
  ]);
});

test('modules import only what stands before them in index.js, and no package', () => {
  const folder = new URL('../src/', import.meta.url);
  const index = readFileSync(new URL('index.js', folder), 'utf8');
  const [map = ''] = /^\/\*\*[\s\S]*?\*\//.exec(index) ?? [];
  const order = [...map.matchAll(/`([a-z]+)`/g)].map(([, name]) => name);
  const files = readdirSync(folder).filter((name) => name !== 'index.js');
  assert.deepEqual([...order].map((name) => `${name}.js`).sort(), files.sort());
  for (const [at, name] of order.entries()) {
    const source = readFileSync(new URL(`${name}.js`, folder), 'utf8');
    for (const [, from = ''] of source.matchAll(/^(?:import|export) [\s\S]*? from '(.*)';$/gm)) {
      const used = /^\.\/([a-z]+)\.js$/.exec(from)?.[1];
      assert.ok(used && order.indexOf(used) < at, `${name} imports ${from}`);
    }
  }
});
