import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Inbox } from '../src/inbox.js';
import { Pace } from '../src/pace.js';
import { Reconnect } from '../src/reconnect.js';
import { MessageStream } from '../src/stream.js';
import { delay } from '../src/timers.js';
import { below, roll, SEED_NOTE } from './support/dice.js';

/** @typedef {import('../src/session.js').Message} Message */

test('the inbox takes one thing at a time, in order, however long each takes', async () => {
  /** @type {number[]} */
  const taken = [];
  let isBusy = false;
  const done = new Promise((resolve) => {
    const inbox = new Inbox(
      async (/** @type {number} */ item) => {
        assert.ok(!isBusy);
        isBusy = true;
        // Some take a few turns, others none.
        for (let turn = below(4); turn > 0; turn -= 1) await null;
        isBusy = false;
        taken.push(item);
        if (item === 99) resolve(undefined);
      },
      () => assert.fail('it is not full'),
    );
    for (let item = 0; item < 100; item += 1) inbox.push(item, 1);
  });
  await done;
  assert.deepEqual(taken, [...Array(100).keys()], SEED_NOTE);
});

test('a full inbox says so once and takes nothing more', () => {
  for (const limits of [
    { items: 4, bytes: 100 },
    { items: 100, bytes: 4 },
  ]) {
    let full = 0;
    const taken = [];
    const forever = new Promise(() => {});
    const inbox = new Inbox(
      async (item) => {
        taken.push(item);
        await forever;
      },
      () => {
        full += 1;
      },
      limits,
    );
    for (let item = 0; item < 20; item += 1) inbox.push(item, 1);
    assert.equal(full, 1);
    assert.equal(taken.length, 1);
  }
});

test('volatile things do not fill the inbox', () => {
  const forever = new Promise(() => {});
  const inbox = new Inbox(
    async () => {
      await forever;
    },
    () => assert.fail('it is not full'),
    { items: 8, bytes: 100 },
  );
  for (let item = 0; item < 100; item += 1) inbox.push(item, 1, true);
  // The other half is still free.
  for (let item = 0; item < 4; item += 1) inbox.push(item, 1);
});

/** @param {number} seq @returns {Message} */
function message(seq) {
  return {
    from: 'AAAAAAAAAAA',
    data: seq,
    kind: 'json',
    seq,
    direct: false,
    own: false,
    volatile: false,
  };
}

test('a loop gets everything in order, and ends when the room does', async () => {
  const stream = new MessageStream(() => {});
  const waiting = stream.next();
  stream.push(message(0), 1);
  assert.equal((await waiting).value.data, 0);
  for (let seq = 1; seq < 5; seq += 1) stream.push(message(seq), 1);
  stream.end();
  const seqs = [];
  for await (const { seq } of stream) seqs.push(seq);
  assert.deepEqual(seqs, [1, 2, 3, 4]);
});

test('a loop that is too slow gets what fits, then an error', async () => {
  for (const limits of [
    { messages: 3, bytes: 100 },
    { messages: 100, bytes: 3 },
  ]) {
    let returned = 0;
    const stream = new MessageStream(() => {
      returned += 1;
    }, limits);
    for (let seq = 0; seq < 3; seq += 1) assert.ok(stream.push(message(seq), 1));
    assert.equal(stream.push(message(3), 1), false);
    assert.equal(stream.push(message(4), 1), true, 'it is told once');
    /** @type {number[]} */
    const seqs = [];
    await assert.rejects(
      async () => {
        for await (const { seq } of stream) seqs.push(seq);
      },
      { code: 'iterator_overflow' },
    );
    assert.deepEqual(seqs, [0, 1, 2]);
    assert.equal(returned, 1);
    assert.equal((await stream.next()).done, true);
  }
});

test('a loop that is left gives its place back, and nobody waits for ever', async () => {
  let returned = 0;
  const stream = new MessageStream(() => {
    returned += 1;
  });
  stream.push(message(0), 1);
  for await (const { seq } of stream) {
    assert.equal(seq, 0);
    break;
  }
  assert.equal(returned, 1);
  const other = new MessageStream(() => {});
  const waiting = other.next();
  other.end();
  assert.equal((await waiting).done, true);
});

const LIMITS = /** @type {import('../src/wire.js').Limits} */ ({
  payload_bytes: 65536,
  messages: [300, 10],
  bytes: [1_000_000, 10],
  heartbeat_s: 25,
});

test('whoever keeps the pace is never refused, even if everything is late by a second', () => {
  for (let round = 0; round < 20; round += 1) {
    const pace = new Pace(LIMITS, 0);
    /** @type {{ at: number, length: number }[]} */
    const sent = [];
    let now = 0;
    while (now < 60_000) {
      const length = roll() < 0.5 ? 256 : 65536;
      const wait = pace.take(length, 1, now);
      if (wait > 0) now += wait;
      else sent.push({ at: now, length });
      if (roll() < 0.01) now += below(5000);
    }
    assert.ok(sent.length > 100, SEED_NOTE);
    let [messages, bytes, last] = [300, 1_000_000, 0];
    for (const { at, length } of sent) {
      // The network holds things back and then delivers them all at once.
      const arrives = at + (Math.floor(at / 5000) % 2 === 0 ? 1000 - (at % 1000) : 0);
      const passed = Math.max(0, arrives - last);
      last = Math.max(last, arrives);
      messages = Math.min(300, messages + passed * 0.03) - 1;
      bytes = Math.min(1_000_000, bytes + passed * 100) - length;
      assert.ok(messages >= 0 && bytes >= 0, `at ${at}, ${SEED_NOTE}`);
    }
  }
});

test('a message larger than the limit goes when nothing else has gone for long', () => {
  const pace = new Pace({ ...LIMITS, bytes: [1000, 10] }, 0);
  assert.equal(pace.take(5000, 1, 0), 0);
  const wait = pace.take(5000, 1, 0);
  assert.ok(wait > 0);
  assert.equal(pace.take(5000, 1, wait), 0);
});

test('what many receive counts once for each, where the relay says so', () => {
  const pace = new Pace({ ...LIMITS, fanout: [100_000, 10] }, 0);
  assert.equal(pace.take(1000, 63, 0), 0);
  const wait = pace.take(1000, 63, 0);
  // 46,000 more than the 17,000 that are left of four fifths, at nine tenths of 10 a millisecond.
  assert.equal(wait, Math.ceil(46_000 / 9));
  assert.equal(pace.take(1000, 1, 0), 0, 'for one there is enough');
  const without = new Pace(LIMITS, 0);
  for (let i = 0; i < 100; i += 1) assert.equal(without.take(1000, 1000, 0), 0);
});

test('waits have full jitter, grow to a limit and keep to the hint', () => {
  const [low, high] = [new Reconnect(() => 0), new Reconnect(() => 0.999_999)];
  const ended = { advice: /** @type {const} */ ('backoff'), hintMs: 0, openForMs: 0 };
  const waits = Array.from({ length: 10 }, () => high.next(ended));
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000]);
  for (let n = 0; n < 10; n += 1) assert.equal(low.next(ended), 0);
  assert.equal(low.next({ ...ended, hintMs: 3400 }), 3400);
  // A good connection makes it hopeful again, a short one does not.
  assert.equal(high.next({ ...ended, openForMs: 9_999 }), 30_000);
  assert.equal(high.next({ ...ended, openForMs: 10_000 }), 500);
});

test('a token that could not be used is replaced once', () => {
  const reconnect = new Reconnect();
  const ended = { advice: /** @type {const} */ ('fresh_token'), hintMs: 0, openForMs: 0 };
  assert.equal(reconnect.next(ended), 0);
  assert.equal(reconnect.next(ended), null);
  assert.equal(reconnect.next({ ...ended, openForMs: 60_000 }), 0);
  assert.equal(reconnect.next({ ...ended, advice: 'stop' }), null);
});

test('a wait that is called off ends at once and leaves no timer', async () => {
  const over = new AbortController();
  const waiting = delay(1_000_000, over.signal);
  over.abort();
  await waiting;
  await delay(1_000_000, over.signal);
  await delay(0, new AbortController().signal);
});

test('a wait that is too long for a timer is not none at all', async (t) => {
  const timer = t.mock.method(globalThis, 'setTimeout');
  const over = new AbortController();
  const waiting = delay(1e15, over.signal);
  over.abort();
  await waiting;
  assert.equal(timer.mock.calls[0]?.arguments[1], 2 ** 31 - 1);
});
