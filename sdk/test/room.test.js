import assert from 'node:assert/strict';
import { test as nodeTest } from 'node:test';
import { formatLink, parseLink } from '../src/index.js';
import { bytes } from './support/dice.js';
import { Ear, Relay } from './support/relay.js';

/**
 * @param {string} name
 * @param {(t: import('node:test').TestContext) => Promise<void>} run
 */
function test(name, run) {
  nodeTest(name, { timeout: 60_000 }, run);
}

test('two members talk both ways, in every form', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob, a, b } = await relay.pair();
  for (const [data, kind] of /** @type {const} */ ([
    ['Guten Tag', 'text'],
    [{ list: [1, 2, null] }, 'json'],
    [Uint8Array.of(0, 128, 255), 'bytes'],
  ])) {
    await alice.send(data);
    const { from, direct, own, volatile, ...said } = await b.next('message');
    assert.deepEqual({ data: said.data, kind: said.kind }, { data, kind });
    assert.deepEqual(
      { from, direct, own, volatile },
      { from: alice.self, direct: false, own: false, volatile: false },
    );
    await bob.send(data);
    assert.deepEqual((await a.next('message')).data, data);
  }
  assert.deepEqual([...a.all('error'), ...b.all('error')], []);
});

test('an ack says the number, and numbers grow', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob, a, b } = await relay.pair();
  const [first, second] = await Promise.all([
    alice.send('one', { ack: true }),
    alice.send('two', { ack: true }),
  ]);
  assert.equal((await b.next('message')).seq, first);
  assert.equal((await b.next('message')).seq, second);
  assert.equal(second, Number(first) + 1);
  const third = await bob.send('three', { ack: true });
  assert.equal((await a.next('message')).seq, third);
  assert.equal(third, Number(second) + 1);
  assert.equal(await alice.send('without'), undefined);
});

test('an echo comes back in order, and only to who asked for it', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob, a, b } = await relay.pair();
  await alice.send('mine', { echo: true });
  const own = await a.next('message');
  assert.ok(own.own && own.data === 'mine' && own.from === alice.self);
  assert.equal((await b.next('message')).own, false);
  // Without it nothing comes back: the next thing that Alice hears is of Bob.
  await alice.send('quiet');
  await b.next('message');
  await bob.send('reply');
  assert.equal((await a.next('message')).data, 'reply');
});

test('volatile messages have no number', async (t) => {
  const relay = await Relay.start(t);
  const { alice, b } = await relay.pair();
  await alice.send({ x: 1 }, { volatile: true });
  const { seq, volatile, data } = await b.next('message');
  assert.deepEqual({ seq, volatile, data }, { seq: 0, volatile: true, data: { x: 1 } });
  // They are no hole in what is numbered.
  await alice.send('numbered');
  assert.equal((await b.next('message')).data, 'numbered');
  assert.deepEqual(b.all('error'), []);
});

test('a word to one reaches nobody else', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob, b } = await relay.pair();
  const carol = await relay.join(alice.link);
  const c = new Ear(carol);
  await c.next('verified');
  await c.next('verified');
  await alice.sendTo(bob.self, 'psst', { ack: true });
  await alice.send('all');
  const { direct, data } = await b.next('message');
  assert.deepEqual({ direct, data }, { direct: true, data: 'psst' });
  assert.equal((await b.next('message')).data, 'all');
  assert.equal((await c.next('message')).data, 'all');
  await assert.rejects(alice.sendTo('AAAAAAAAAAA', 'x'), { code: 'no_such_member' });
});

test('everybody sees the same words, and others when somebody comes or goes', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob, a } = await relay.pair();
  const two = await alice.verification();
  assert.deepEqual(await bob.verification(), two);
  const carol = await relay.join(alice.link);
  const c = new Ear(carol);
  await a.next('verified');
  await c.next('verified');
  await c.next('verified');
  const three = await alice.verification();
  assert.notEqual(three.fingerprint, two.fingerprint);
  assert.deepEqual(await carol.verification(), three);
  await carol.leave();
  await a.next('leave');
  assert.deepEqual(await alice.verification(), two);
  await assert.rejects(carol.verification(), { code: 'not_open' });
});

test('a room of sixteen who come at the same time: everybody knows and hears everybody', async (t) => {
  const relay = await Relay.start(t);
  const first = await relay.create();
  await first.ready;
  const others = await Promise.all(Array.from({ length: 15 }, () => relay.join(first.link)));
  const rooms = [first, ...others];
  const ears = rooms.map((room) => new Ear(room));
  await Promise.all(
    rooms.map(async (room, at) => {
      const isMet = () =>
        [...room.members.values()].filter(({ verified }) => verified).length === 15;
      while (!isMet()) await ears[at]?.next('verified');
    }),
  );
  const words = await Promise.all(rooms.map((room) => room.verification()));
  for (const other of words) assert.deepEqual(other, words[0]);
  await Promise.all(rooms.map((room, at) => room.send(at, { ack: true, echo: true })));
  const orders = await Promise.all(
    ears.map(async (ear) => {
      const heard = [];
      for (let n = 0; n < 16; n += 1) heard.push((await ear.next('message')).data);
      return heard;
    }),
  );
  // The same order for all, with the own words in their place.
  for (const order of orders) assert.deepEqual(order, orders[0]);
  for (const ear of ears) assert.deepEqual(ear.all('error'), []);
});

test('members come and go, and everybody knows who is there', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob, a, b } = await relay.pair();
  assert.deepEqual([...alice.members], [[bob.self, { id: bob.self, verified: true }]]);
  assert.deepEqual([...bob.members], [[alice.self, { id: alice.self, verified: true }]]);
  // Who came later is announced, who was there is not.
  assert.deepEqual(a.all('join'), [{ member: bob.self }]);
  assert.deepEqual(b.all('join'), []);
  await bob.leave();
  assert.deepEqual(await a.next('leave'), { member: bob.self, why: 'left' });
  assert.equal(alice.members.size, 0);
  assert.deepEqual(b.all('state').at(-1), {
    state: 'closed',
    reason: 'left',
    message: 'You have left the room.',
    retryInMs: 0,
  });
  await assert.rejects(bob.send('too late'), { code: 'closed' });
});

test('what is said while somebody comes in is not lost on it', async (t) => {
  const relay = await Relay.start(t);
  const { alice } = await relay.pair();
  let isOver = false;
  const talking = (async () => {
    let n = 0;
    while (!isOver) {
      await alice.send(n, { ack: true });
      n += 1;
    }
    await alice.send('end');
  })();
  const carol = await relay.join(alice.link);
  const c = new Ear(carol);
  for (let n = 0; n < 20; n += 1) await c.next('message');
  isOver = true;
  await talking;
  await c.next('message', ({ data }) => data === 'end');
  const heard = c.all('message').map(({ data }) => data);
  const [first] = heard;
  assert.deepEqual(heard, [...heard.slice(0, -1).map((_, at) => first + at), 'end']);
  // Not one since it came: the first HELLO that it got says how many there were before.
  assert.deepEqual(c.all('error'), []);
});

test('whoever says something and goes is heard', async (t) => {
  const relay = await Relay.start(t);
  const alice = await relay.create();
  const a = new Ear(alice);
  await alice.ready;
  const bob = await relay.join(alice.link);
  bob.send('hello and goodbye');
  await bob.ready;
  await bob.leave();
  assert.equal((await a.next('message')).data, 'hello and goodbye');
  assert.deepEqual(a.all('error'), []);
});

test('what is said before the room is open is said when it is', async (t) => {
  const relay = await Relay.start(t);
  const alice = await relay.create();
  const a = new Ear(alice);
  assert.equal(alice.state, 'connecting');
  assert.equal(alice.bytesMax, 0);
  const seqs = Promise.all([1, 2, 3].map((n) => alice.send(n, { ack: true, echo: true })));
  assert.equal((await a.next('state')).state, 'open');
  for (const n of [1, 2, 3]) assert.equal((await a.next('message')).data, n);
  assert.equal((await seqs).length, 3);
  assert.equal(alice.self.length, 11);
});

test('the largest message goes through, a larger one is refused', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob, b } = await relay.pair();
  const most = bytes(alice.bytesMax);
  assert.ok(most.length > 65_000);
  await alice.send(most);
  assert.deepEqual((await b.next('message')).data, most);
  await alice.sendTo(bob.self, most);
  assert.deepEqual((await b.next('message')).data, most);
  await assert.rejects(alice.send(bytes(alice.bytesMax + 1)), { code: 'too_large' });
  await assert.rejects(alice.send(undefined), { code: 'bad_argument' });
  const circle = {};
  Object.assign(circle, { circle });
  await assert.rejects(alice.send(circle), { code: 'bad_argument' });
});

test('a crowd of messages keeps the relay’s pace: none is refused', async (t) => {
  const relay = await Relay.start(t, { MAX_MSGS_PER_10S: '60', MAX_STRIKES: '1' });
  const { alice, a, b } = await relay.pair();
  const all = Array.from({ length: 55 }, (_, n) => n);
  await Promise.all(all.map((n) => alice.send(n, { ack: true })));
  for (const n of all) assert.equal((await b.next('message')).data, n);
  assert.deepEqual([...a.all('error'), ...b.all('error')], []);
});

test('more than the queue takes is refused', async (t) => {
  const relay = await Relay.start(t);
  const alice = await relay.create();
  const results = await Promise.allSettled(Array.from({ length: 300 }, () => alice.send('x')));
  const refused = results.filter(({ status }) => status === 'rejected');
  assert.equal(refused.length, 300 - 256);
  for (const result of refused) {
    assert.ok(result.status === 'rejected' && result.reason.code === 'queue_full');
  }
});

test('loops over the room get messages until it is over', async (t) => {
  const relay = await Relay.start(t);
  const { alice, bob } = await relay.pair();
  const heard = (async () => {
    const data = [];
    for await (const message of bob) data.push(message.data);
    return data;
  })();
  await alice.send(1, { ack: true });
  await alice.send(2, { ack: true });
  await bob.send('in order', { echo: true, ack: true });
  await bob.leave();
  assert.deepEqual(await heard, [1, 2, 'in order']);
  for await (const _ of bob) assert.fail('the room is over');
});

test('another secret is another room', async (t) => {
  const relay = await Relay.start(t);
  const { alice } = await relay.pair();
  const { app, owner } = parseLink(alice.link);
  const stranger = await relay.join(formatLink({ app, secret: bytes(32), owner }));
  await stranger.ready;
  assert.equal(stranger.members.size, 0);
  assert.equal(alice.members.size, 1);
});

test('nothing that a room prints holds a secret', async (t) => {
  const relay = await Relay.start(t);
  const { alice } = await relay.pair();
  const { inspect } = await import('node:util');
  const [, fragment = ''] = alice.link.split('#');
  const [, secret = '', owner = ''] = fragment.split('.');
  const printed = inspect(alice, { depth: 10, showHidden: true }) + JSON.stringify(alice);
  for (const hidden of [secret, owner, alice.ownerSecret]) {
    assert.ok(hidden.length > 20);
    assert.ok(!printed.includes(hidden));
  }
});
