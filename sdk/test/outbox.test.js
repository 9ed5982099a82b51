import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KIND, parseHead } from '../src/frame.js';
import { contentOf } from '../src/message.js';
import { OUTBOX, Outbox, refAfter } from '../src/outbox.js';
import { brief, Mesh } from './support/mesh.js';

/** @typedef {import('../src/wire.js').Limits} Limits */

/** @type {Limits} */
const LIMITS = { payload_bytes: 65536, messages: [100_000, 1], bytes: [1e12, 1], heartbeat_s: 25 };

/** One other member hears what is for all. */
const alone = () => 1;

/** The relay's side of the line, in the hands of the test. */
class Line {
  bufferedAmount = 0;
  /** @type {{ op: number, flags: number, ref: number, payload: Uint8Array<ArrayBuffer> }[]} */
  frames = [];
  #wake = () => {};

  /** @param {Uint8Array<ArrayBuffer>} frame */
  send(frame) {
    const [op = 0, flags = 0, high = 0, low = 0] = frame;
    this.frames.push({ op, flags, ref: high * 256 + low, payload: frame.slice(op === 1 ? 4 : 12) });
    this.#wake();
  }

  /** @param {number} count */
  async got(count) {
    while (this.frames.length < count) {
      await new Promise((resolve) => {
        this.#wake = () => resolve(undefined);
      });
    }
    return this.frames;
  }

  /** Which kinds of frames came. */
  kinds() {
    return this.frames.map(({ payload }) => parseHead(payload)?.kind);
  }
}

/**
 * @param {{ frames: number, ms: number }} [rekey]
 * @param {Limits} [limits]
 */
async function attached(rekey, limits = LIMITS) {
  const mesh = await Mesh.create();
  mesh.now = performance.now();
  const bob = await mesh.join();
  const alice = await mesh.enter(rekey);
  const outbox = new Outbox();
  const line = new Line();
  await new Promise((resolve) => {
    outbox.attach(alice, line, limits, alone, () => resolve(undefined));
  });
  return { mesh, alice, bob, outbox, line };
}

const say = (/** @type {Outbox} */ outbox, /** @type {object} */ how = {}) =>
  outbox.say(contentOf('x'), how);

test('the HELLO goes first, and answers before messages', async () => {
  const { mesh, alice, bob, outbox, line } = await attached();
  assert.deepEqual(line.kinds(), [KIND.hello]);
  const hello = mesh.delivery(bob, await bob.hello(undefined, mesh.now));
  assert.deepEqual(brief(await alice.receive(hello, mesh.now)), ['greet']);
  const said = Promise.all([say(outbox), say(outbox)]);
  outbox.greet(bob.self);
  await said;
  assert.deepEqual(line.kinds(), [KIND.hello, KIND.hello, KIND.app, KIND.app]);
  outbox.close();
});

test('flags and references are those of each message', async () => {
  const { bob, outbox, line } = await attached();
  await say(outbox, { echo: true });
  await say(outbox, { volatile: true });
  await say(outbox, { to: bob.self });
  const acked = say(outbox, { ack: true });
  const frames = (await line.got(5)).slice(1);
  assert.deepEqual(
    frames.map(({ op, flags }) => [op, flags]),
    [
      [1, 2],
      [1, 4],
      [2, 0],
      [1, 1],
    ],
  );
  const refs = line.frames.map(({ ref }) => ref);
  assert.equal(new Set(refs).size, 5);
  outbox.acked(Number(refs.at(-1)), 77);
  assert.equal(await acked, 77);
  outbox.close();
});

test('a refusal reaches who asked for an ack, and nobody twice', async () => {
  const { outbox, line } = await attached();
  const acked = say(outbox, { ack: true });
  const { ref } = /** @type {{ ref: number }} */ ((await line.got(2))[1]);
  assert.equal(outbox.refused(ref, 'rate_limited', 0), true);
  await assert.rejects(acked, { code: 'rate_limited' });
  assert.equal(outbox.refused(ref, 'rate_limited', 0), false);
  assert.equal(outbox.refused(null, 'not_permitted', 0), false);
  outbox.acked(ref, 5);
  outbox.close();
});

test('a complaint about what was delivered is no refusal', async () => {
  const { outbox, line } = await attached();
  const acked = say(outbox, { ack: true });
  const { ref = 0 } = (await line.got(2))[1] ?? {};
  assert.equal(outbox.refused(ref, 'padding_violation', 0), false);
  outbox.acked(ref, 9);
  assert.equal(await acked, 9);
  outbox.close();
});

test('a HELLO that was refused is said again', async () => {
  const { outbox, line } = await attached();
  const [hello] = line.frames;
  assert.equal(outbox.refused(hello?.ref ?? 0, 'rate_limited', 1), true);
  await line.got(2);
  assert.deepEqual(line.kinds(), [KIND.hello, KIND.hello]);
  const second = line.frames[1];
  outbox.acked(second?.ref ?? 0, 1);
  assert.notEqual(second?.ref, hello?.ref);
  outbox.close();
});

test('after a break: what was sent is unconfirmed, what was not is sent, what is volatile is gone', async () => {
  const { mesh, outbox, line } = await attached();
  const sent = assert.rejects(say(outbox, { ack: true }), { code: 'unconfirmed' });
  await line.got(2);
  // The socket takes nothing more.
  line.bufferedAmount = 1e9;
  const waiting = say(outbox, { ack: true });
  const gone = say(outbox, { volatile: true });
  outbox.detach();
  await sent;
  assert.equal(await gone, undefined);
  assert.equal(await say(outbox, { volatile: true, ack: true }), undefined);
  const next = new Line();
  outbox.attach(await mesh.enter(), next, LIMITS, alone, () => {});
  const frames = await next.got(2);
  assert.deepEqual(next.kinds(), [KIND.hello, KIND.app]);
  outbox.acked(Number(frames[1]?.ref), 9);
  assert.equal(await waiting, 9);
  assert.equal(line.frames.length, 2);
  outbox.close();
});

test('nothing is said twice: after a break the same words have new keys', async () => {
  const { mesh, outbox, line } = await attached();
  line.bufferedAmount = 1e9;
  const waiting = say(outbox);
  outbox.detach();
  const next = new Line();
  outbox.attach(await mesh.enter(), next, LIMITS, alone, () => {});
  await waiting;
  const streams = [...line.frames, ...next.frames].map(({ payload }) => parseHead(payload)?.stream);
  assert.equal(streams.length, 3);
  assert.notEqual(streams[0], streams[1]);
  assert.equal(streams[1], streams[2]);
  outbox.close();
});

test('what is sealed but not sent when the connection goes is sealed anew for the next one', async () => {
  const limits = { ...LIMITS, messages: /** @type {[number, number]} */ ([5, 3600]) };
  const { mesh, alice, outbox, line } = await attached(undefined, limits);
  for (let n = 0; n < 3; n += 1) await say(outbox);
  // The relay's limit holds the next one back, after it was sealed.
  const seal = alice.seal.bind(alice);
  const sealed = new Promise((resolve) => {
    alice.seal = (...args) => seal(...args).finally(() => setImmediate(resolve));
  });
  const waiting = say(outbox);
  await sealed;
  outbox.detach();
  const next = new Line();
  outbox.attach(await mesh.enter(), next, LIMITS, alone, () => {});
  await waiting;
  assert.equal(line.frames.length, 4);
  assert.deepEqual(next.kinds(), [KIND.hello, KIND.app]);
  outbox.close();
});

test('a reference that is still waited for is not used again', () => {
  assert.equal(refAfter(0, new Set()), 1);
  assert.equal(refAfter(65_535, new Set()), 1);
  assert.equal(refAfter(65_534, new Set([65_535, 1, 2])), 3);
});

test('the end tells everybody who waits', async () => {
  const { outbox, line } = await attached();
  const sent = assert.rejects(say(outbox, { ack: true }), { code: 'unconfirmed' });
  await line.got(2);
  line.bufferedAmount = 1e9;
  const waiting = assert.rejects(say(outbox), { code: 'closed' });
  const drained = outbox.drained();
  outbox.close();
  await Promise.all([sent, waiting, drained]);
  await assert.rejects(say(outbox), { code: 'closed' });
});

test('it is bounded: messages, bytes and answers that are waited for', async () => {
  const outbox = new Outbox();
  /** @type {Promise<unknown>[]} */
  const waiting = [];
  for (let n = 0; n < OUTBOX.messages; n += 1) waiting.push(say(outbox));
  await assert.rejects(say(outbox), { code: 'queue_full' });
  outbox.close();
  assert.ok((await Promise.allSettled(waiting)).every(({ status }) => status === 'rejected'));

  const second = new Outbox();
  const large = contentOf(new Uint8Array(OUTBOX.bytes / 4));
  const four = Array.from({ length: 4 }, () => second.say(large, {}));
  await assert.rejects(say(second), { code: 'queue_full' });
  second.close();
  await Promise.allSettled(four);

  const { outbox: third, line } = await attached();
  const acks = [];
  for (let n = 0; n < OUTBOX.acks; n += 1) {
    acks.push(say(third, { ack: true }));
    await line.got(n + 2);
  }
  await assert.rejects(say(third, { ack: true }), { code: 'queue_full' });
  assert.equal(await say(third), undefined);
  // An answer makes room for a question.
  third.acked(Number(line.frames[1]?.ref), 1);
  acks.push(say(third, { ack: true }));
  await line.got(OUTBOX.acks + 3);
  third.close();
  assert.equal((await Promise.allSettled(acks)).length, OUTBOX.acks + 1);
});

test('a new sid is announced before the first frame under it', async () => {
  const { mesh, bob, alice, outbox, line } = await attached({ frames: 5, ms: 3_600_000 });
  const [first] = line.frames;
  assert.ok(first);
  await mesh.carry(mesh.delivery(alice, first.payload), bob);
  for (let n = 0; n < 12; n += 1) await say(outbox);
  outbox.close();
  const heads = line.frames.map(({ payload }) => parseHead(payload));
  assert.deepEqual(
    heads.map((head) => head?.counter),
    // The answer to Bob, counter 1, went past the line.
    [0, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1],
  );
  for (const at of [0, 4, 9, 14]) assert.equal(heads[at]?.kind, KIND.hello);
  // And Bob, who hears them in this order, opens all of it.
  const heard = [];
  for (const { payload } of line.frames.slice(1)) {
    heard.push(...brief(await mesh.carry(mesh.delivery(alice, payload), bob)));
  }
  assert.deepEqual(heard, Array(12).fill('x'));
});

test('a message to somebody who has gone is refused', async () => {
  const { bob, alice, outbox } = await attached();
  alice.leave(bob.self);
  await assert.rejects(say(outbox, { to: bob.self }), { code: 'no_such_member' });
  await assert.rejects(outbox.say(contentOf(new Uint8Array(65_536)), {}), { code: 'too_large' });
  assert.equal(await say(outbox), undefined);
  outbox.close();
});

test('what is volatile does not wait for the relay’s limits', async () => {
  const limits = { ...LIMITS, messages: /** @type {[number, number]} */ ([5, 3600]) };
  const { outbox, line } = await attached(undefined, limits);
  for (let n = 0; n < 10; n += 1) await say(outbox, { volatile: true });
  assert.equal(line.frames.length, 4);
  outbox.close();
});

test('what the relay cannot take at the moment is said again, in order, before what came later', async () => {
  const { outbox, line } = await attached();
  const first = say(outbox, { ack: true });
  const second = say(outbox, { ack: true });
  const [, one, two] = await line.got(3);
  assert.ok(one && two);
  assert.equal(outbox.refused(one.ref, 'unavailable', 30), true);
  assert.equal(outbox.refused(two.ref, 'unavailable', 30), true);
  const later = say(outbox);
  const began = performance.now();
  const frames = await line.got(6);
  assert.ok(performance.now() - began >= 25, 'not before the hint');
  await later;
  const [again, andAgain] = frames.slice(3).map(({ ref }) => ref);
  assert.ok(again && andAgain);
  outbox.acked(again, 7);
  outbox.acked(andAgain, 8);
  assert.deepEqual(await Promise.all([first, second]), [7, 8]);
  outbox.close();
});

test('while the relay pauses nothing is sent, and volatile messages are dropped', async () => {
  const { outbox, line } = await attached();
  outbox.pause();
  assert.equal(await say(outbox, { volatile: true, ack: true }), undefined);
  const said = say(outbox);
  assert.equal(line.frames.length, 1);
  outbox.resume();
  await said;
  assert.equal(line.frames.length, 2);
  outbox.announce();
  outbox.announce();
  await line.got(3);
  assert.deepEqual(line.kinds(), [KIND.hello, KIND.app, KIND.hello]);
  outbox.close();
});
