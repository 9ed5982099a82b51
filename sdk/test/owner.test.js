import assert from 'node:assert/strict';
import { test as nodeTest } from 'node:test';
import { Ear, Relay } from './support/relay.js';

/**
 * @param {string} name
 * @param {(t: import('node:test').TestContext) => Promise<void>} run
 */
function test(name, run) {
  nodeTest(name, { timeout: 60_000 }, run);
}

test('a locked room takes nobody in until it is unlocked', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob, a, b } = await relay.pair();
  await alice.lock();
  assert.deepEqual(await a.next('room'), { locked: true });
  assert.deepEqual(await b.next('room'), { locked: true });
  assert.ok(alice.locked && bob.locked);
  const carol = await relay.join(alice.link);
  await assert.rejects(carol.ready, { code: 'room_locked' });
  assert.equal(carol.state, 'closed');
  await alice.unlock();
  assert.deepEqual(await b.next('room'), { locked: false });
  const dave = await relay.join(alice.link);
  await dave.ready;
  assert.equal(dave.locked, false);
});

test('the owner comes back into a locked room', async (t) => {
  const relay = await Relay.start(t);
  const { alice } = await relay.pair();
  await alice.lock();
  const again = await relay.join(alice.link, { ownerSecret: alice.ownerSecret });
  await again.ready;
  assert.equal(again.locked, true);
  assert.equal(again.ownerSecret, alice.ownerSecret);
});

test('a member that is removed is told so, and does not come back by itself', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob, a, b } = await relay.pair();
  const id = bob.self;
  await alice.kick(id);
  const { reason, message } = await b.next('state', ({ state }) => state === 'closed');
  assert.equal(reason, 'kicked');
  assert.equal(message, 'You were removed from the room.');
  assert.deepEqual(await a.next('leave'), { member: id, why: 'kicked' });
  await assert.rejects(alice.kick(id), { code: 'no_such_member' });
  await assert.rejects(alice.kick('x'), { code: 'no_such_member' });
  await assert.rejects(bob.send('x'), { code: 'closed' });
});

test('a room that its owner closes is over for everybody', async (t) => {
  const relay = await Relay.start(t);
  const { alice, a, b } = await relay.pair();
  await alice.close();
  for (const ear of [a, b]) {
    const { reason } = await ear.next('state', ({ state }) => state === 'closed');
    assert.equal(reason, 'room_closed');
  }
  const late = await relay.join(alice.link);
  await assert.rejects(late.ready, { code: 'room_closed' });
});

test('only the owner rules', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob } = await relay.pair();
  assert.equal(bob.ownerSecret, '');
  for (const call of [bob.lock(), bob.unlock(), bob.close(), bob.kick(alice.self)]) {
    await assert.rejects(call, { code: 'not_owner' });
  }
  const again = await relay.join(bob.link, { ownerSecret: alice.ownerSecret });
  const ear = new Ear(again);
  await again.ready;
  await again.lock();
  assert.deepEqual(await ear.next('room'), { locked: true });
});
