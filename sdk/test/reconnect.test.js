import assert from 'node:assert/strict';
import { test as nodeTest } from 'node:test';
import { Cable } from './support/cable.js';
import { Ear, Relay } from './support/relay.js';

/**
 * @param {string} name
 * @param {(t: import('node:test').TestContext) => Promise<void>} run
 */
function test(name, run) {
  nodeTest(name, { timeout: 60_000 }, run);
}

const SECRET = 'a secret of this test, long enough for HS256';

for (const [what, before, after, signal] of /** @type {const} */ ([
  ['stops and starts with the same token secret', SECRET, SECRET, 'SIGTERM'],
  ['stops and starts with another token secret', SECRET, `other ${SECRET}`, 'SIGTERM'],
  ['is killed and started', SECRET, SECRET, 'SIGKILL'],
])) {
  test(`both come back when the relay ${what}`, async (t) => {
    const relay = await Relay.start(t, { JOIN_TOKEN_SECRET: before });
    const { alice, bob, a, b } = await relay.pair();
    const selves = [alice.self, bob.self];
    const words = await alice.verification();
    await relay.stop(signal);
    for (const ear of [a, b]) {
      const { reason, message, retryInMs } = await ear.next('state', isReconnecting);
      assert.equal(reason, signal === 'SIGTERM' ? 'restart' : 'network');
      assert.ok(message.length > 10);
      assert.ok(retryInMs >= 0);
    }
    await assert.rejects(alice.verification(), { code: 'not_open' });
    await relay.start({ JOIN_TOKEN_SECRET: after });
    for (const ear of [a, b]) {
      await ear.next('state', isOpen);
      // Its numbers begin anew, and everybody is told.
      assert.ok((await ear.next('reset')).epoch);
    }
    await Promise.all([meet(alice, a, bob), meet(bob, b, alice)]);
    assert.ok(!selves.includes(alice.self) && !selves.includes(bob.self));
    assert.notEqual((await alice.verification()).fingerprint, words.fingerprint);
    assert.deepEqual(await alice.verification(), await bob.verification());
    await alice.send('back');
    assert.equal((await b.next('message')).data, 'back');
    await bob.send('again');
    assert.equal((await a.next('message')).data, 'again');
    assert.deepEqual([...a.all('error'), ...b.all('error')], []);
  });
}

test('what was not yet said is said after the reconnect', async (t) => {
  const relay = await Relay.start(t);
  const { alice, a } = await relay.pair();
  await relay.stop();
  await a.next('state', isReconnecting);
  const said = alice.send('patience', { ack: true, echo: true });
  assert.equal(await alice.send('cursor', { volatile: true }), undefined);
  await relay.start();
  const { seq, data } = await a.next('message');
  assert.equal(data, 'patience');
  assert.equal(await said, seq);
});

test('whether the relay had it is not known when the connection goes before its answer', async (t) => {
  const relay = await Relay.start(t);
  const cable = await Cable.start(t, relay.url);
  const alice = await relay.create();
  const bob = await relay.join(alice.link, { relay: cable.url });
  const b = new Ear(bob);
  await bob.ready;
  cable.freeze();
  const said = assert.rejects(bob.send('did you hear?', { ack: true }), { code: 'unconfirmed' });
  // Once the second is under way, the first is, too.
  await bob.send('anybody?');
  cable.cut();
  await said;
  await b.next('state', isReconnecting);
});

test('a member for whom the relay is not there yet waits for it', async (t) => {
  const relay = await Relay.start(t);
  await relay.stop();
  const alice = await relay.create();
  const a = new Ear(alice);
  const { reason, message } = await a.next('state', isReconnecting);
  assert.equal(reason, 'network');
  assert.equal(message, 'The relay cannot be reached.');
  await relay.start();
  await alice.ready;
  assert.equal(alice.state, 'open');
});

test('a room too many is made when the relay says so', async (t) => {
  const relay = await Relay.start(t, { MAX_ROOM_CREATES_PER_IP_PER_MIN: '1' });
  await (await relay.create()).ready;
  const { reason, message, retryInMs } = await new Ear(await relay.create()).next('state');
  assert.equal(reason, 'quota_exceeded');
  assert.match(message, /^Too many requests from your network/);
  assert.ok(retryInMs > 50_000, String(retryInMs));
});

test('what others said while one was away is a gap', async (t) => {
  const relay = await Relay.start(t);
  const cable = await Cable.start(t, relay.url);
  const alice = await relay.create();
  const a = new Ear(alice);
  const bob = await relay.join(alice.link, { relay: cable.url });
  const b = new Ear(bob);
  await meet(alice, a, bob);
  await meet(bob, b, alice);
  const heard = Number(await alice.send('heard', { ack: true }));
  await b.next('message');
  cable.cut();
  await a.next('leave');
  await alice.send('one', { ack: true });
  const missed = Number(await alice.send('two', { ack: true }));
  cable.mend();
  const gap = await b.next('gap');
  assert.equal(gap.from, heard + 1);
  assert.ok(gap.to >= missed);
  await b.next('state', isReconnecting);
  await b.next('state', isOpen);
  await meet(alice, a, bob);
  await alice.send('three');
  assert.equal((await b.next('message')).data, 'three');
  // The same people, seen by each other all the time: nobody has left for Bob.
  assert.deepEqual([...b.all('leave'), ...b.all('join'), ...b.all('error')], []);
  assert.deepEqual([...bob.members.keys()], [alice.self]);
});

test('a short break in which nobody spoke is no gap', async (t) => {
  const relay = await Relay.start(t);
  const cable = await Cable.start(t, relay.url);
  const alice = await relay.create();
  const a = new Ear(alice);
  const bob = await relay.join(alice.link, { relay: cable.url });
  const b = new Ear(bob);
  await meet(alice, a, bob);
  await meet(bob, b, alice);
  cable.cut();
  await a.next('leave');
  cable.mend();
  await b.next('state', isReconnecting);
  await b.next('state', isOpen);
  await meet(alice, a, bob);
  await alice.send('still there');
  assert.equal((await b.next('message')).data, 'still there');
  assert.deepEqual([...b.all('gap'), ...b.all('reset'), ...b.all('error')], []);
});

test('a connection that is dead without a word is found out', async (t) => {
  const relay = await Relay.start(t, { WS_PING_INTERVAL_MS: '1000' });
  const cable = await Cable.start(t, relay.url);
  const alice = await relay.create();
  const a = new Ear(alice);
  const bob = await relay.join(alice.link, { relay: cable.url });
  const b = new Ear(bob);
  await meet(alice, a, bob);
  await meet(bob, b, alice);
  cable.freeze();
  const { reason } = await b.next('state', isReconnecting);
  assert.equal(reason, 'heartbeat_lost');
  await b.next('state', isOpen);
  await meet(alice, a, bob);
  await alice.send('there you are');
  assert.equal((await b.next('message')).data, 'there you are');
});

test('a member that goes while it waits leaves nothing behind', async (t) => {
  const relay = await Relay.start(t);
  const { alice, a } = await relay.pair();
  await relay.stop();
  await a.next('state', isReconnecting);
  const waiting = assert.rejects(alice.send('x'), { code: 'closed' });
  await alice.leave();
  await waiting;
  assert.equal(alice.state, 'closed');
  assert.equal(a.all('state').at(-1).reason, 'left');
  await alice.leave();
});

test('a room that is left before it opened never becomes ready', async (t) => {
  const relay = await Relay.start(t);
  const alice = await relay.create();
  await alice.leave();
  await assert.rejects(alice.ready, { code: 'left' });
});

test('a full room is waited for', async (t) => {
  const relay = await Relay.start(t);
  const alice = await relay.create({ members_max: 2 });
  await alice.ready;
  const bob = await relay.join(alice.link);
  await bob.ready;
  const carol = await relay.join(alice.link);
  const c = new Ear(carol);
  assert.equal((await c.next('state', isReconnecting)).reason, 'room_full');
  await bob.leave();
  await carol.ready;
  assert.equal(carol.members.size, 1);
});

/** @param {{ state: string }} detail */
function isReconnecting({ state }) {
  return state === 'reconnecting';
}

/** @param {{ state: string }} detail */
function isOpen({ state }) {
  return state === 'open';
}

/**
 * Waits until a member is verified under its new id.
 *
 * @param {import('../src/index.js').Room} room
 * @param {Ear} ear
 * @param {import('../src/index.js').Room} other
 */
async function meet(room, ear, other) {
  while (!room.members.get(other.self)?.verified) await ear.next('verified');
}
