import assert from 'node:assert/strict';
import { test } from 'node:test';
import { random } from '../src/bytes.js';
import { KIND, parseHead, sealFrame } from '../src/frame.js';
import { encodeHello } from '../src/hello.js';
import { createIdentity, deriveSender } from '../src/keys.js';
import { QUARANTINE } from '../src/quarantine.js';
import { UNDER_WAY_MS } from '../src/sender.js';
import { Session } from '../src/session.js';
import { memberBytes } from '../src/wire.js';
import { below, SEED_NOTE } from './support/dice.js';
import { brief, Mesh, SIZES } from './support/mesh.js';

/** Two sessions that have met. */
async function two() {
  const mesh = await Mesh.create();
  const [alice, bob] = [await mesh.join(), await mesh.join()];
  return { mesh, alice, bob };
}

test('whoever has met can talk, both ways, in every form', async () => {
  const { mesh, alice, bob } = await two();
  for (const data of ['text', '', { a: [1, null] }, null, 5, Uint8Array.of(0, 255, 128), 'Λήθη']) {
    const [effect] = await bob.receive(await mesh.say(alice, data), mesh.now);
    assert.ok(effect?.type === 'message');
    assert.deepEqual(effect.message.data, data);
    assert.equal(effect.message.from, alice.self);
    assert.equal(effect.message.direct, false);
  }
  assert.deepEqual(brief(await alice.receive(await mesh.say(bob, 'back'), mesh.now)), ['back']);
  const [direct] = await bob.receive(await mesh.say(alice, 'psst', { to: bob }), mesh.now);
  assert.ok(direct?.type === 'message' && direct.message.direct);
});

test('a meeting takes three HELLOs a pair, and then everybody is verified', async () => {
  const mesh = await Mesh.create();
  const sessions = [await mesh.join(), await mesh.join(), await mesh.join()];
  for (const session of sessions) {
    assert.equal(session.signPublics().length, 3);
    assert.ok(session.isSettled);
  }
  const keys = sessions.map((session) => session.signPublics().map(String).sort());
  assert.deepEqual(keys[0], keys[1]);
  assert.deepEqual(keys[1], keys[2]);
  const [alice, bob, carol] = sessions;
  assert.ok(alice && bob && carol);
  // What is for one is not answered twice; what is for all says that something was missed.
  const direct = mesh.delivery(bob, await bob.hello(alice.self, mesh.now), { direct: true });
  assert.deepEqual(brief(await alice.receive(direct, mesh.now)), []);
  const again = mesh.delivery(bob, await bob.hello(undefined, mesh.now));
  assert.deepEqual(brief(await alice.receive(again, mesh.now)), ['greet']);
});

test('a newcomer opens what was said before it knew who says it', async () => {
  const { mesh, alice } = await two();
  const carol = await mesh.enter();
  const early = [await mesh.say(alice, 'one'), await mesh.say(alice, 'two', { to: carol })];
  for (const delivery of early) assert.deepEqual(await carol.receive(delivery, mesh.now), []);
  const hello = mesh.delivery(carol, await carol.hello(undefined, mesh.now));
  assert.deepEqual(brief(await alice.receive(hello, mesh.now)), ['greet']);
  const answer = mesh.delivery(alice, await alice.hello(carol.self, mesh.now), { direct: true });
  const effects = await carol.receive(answer, mesh.now);
  assert.deepEqual(brief(effects), ['greet', 'verified', 'one', 'two']);
});

test('those who are there open what a newcomer says as soon as it has proven itself', async () => {
  const { mesh, alice } = await two();
  const carol = await mesh.enter();
  const hello = mesh.delivery(carol, await carol.hello(undefined, mesh.now));
  assert.deepEqual(brief(await alice.receive(hello, mesh.now)), ['greet']);
  // Its HELLO could be yesterday's: what it says has to wait.
  assert.deepEqual(await alice.receive(await mesh.say(carol, 'hi'), mesh.now), []);
  const answer = mesh.delivery(alice, await alice.hello(carol.self, mesh.now), { direct: true });
  await carol.receive(answer, mesh.now);
  const proof = mesh.delivery(carol, await carol.hello(alice.self, mesh.now), { direct: true });
  assert.deepEqual(brief(await alice.receive(proof, mesh.now)), ['verified', 'hi']);
});

test('a frame of one member cannot be passed off as another’s', async () => {
  const { mesh, alice, bob } = await two();
  const carol = await mesh.join();
  const said = await mesh.say(alice, 'from Alice');
  // Carol has no such sid: it is held, and never opens.
  assert.deepEqual(await bob.receive({ ...said, from: carol.self }, mesh.now), []);
  const expired = bob.expire(mesh.now + QUARANTINE.waitMs);
  assert.deepEqual(brief(expired), ['never_verified 1']);
  assert.deepEqual(brief(await bob.receive(said, mesh.now)), ['from Alice']);
});

test('a HELLO cannot be passed off as another’s', async () => {
  const { mesh, alice, bob } = await two();
  const carol = await mesh.enter();
  const hello = mesh.delivery(alice, await alice.hello(undefined, mesh.now));
  const effects = await carol.receive({ ...hello, from: bob.self }, mesh.now);
  assert.deepEqual(brief(effects), ['undecryptable 1']);
  assert.deepEqual(brief(await carol.receive(hello, mesh.now)), ['greet']);
});

test('a word to one cannot be made a word to all, nor to another, nor the other way round', async () => {
  const { mesh, alice, bob } = await two();
  const carol = await mesh.join();
  const direct = await mesh.say(alice, 'for Bob', { to: bob });
  const broadcast = await mesh.say(alice, 'for all');
  const volatile = await mesh.say(alice, 'now', { volatile: true });
  const refused = ['undecryptable 1'];
  assert.deepEqual(brief(await carol.receive({ ...direct, direct: false }, mesh.now)), refused);
  assert.deepEqual(brief(await bob.receive({ ...broadcast, direct: true }, mesh.now)), refused);
  assert.deepEqual(brief(await bob.receive({ ...volatile, volatile: false }, mesh.now)), refused);
  const misled = await mesh.say(alice, 'for Bob', { to: bob });
  assert.deepEqual(brief(await carol.receive(misled, mesh.now)), refused);
});

test('the order within the window may change for what is volatile; nothing comes twice', async () => {
  const { mesh, alice, bob } = await two();
  const says = [];
  for (let n = 0; n < 40; n += 1) says.push(await mesh.say(alice, n, { volatile: true }));
  const heard = [];
  while (says.length > 0) {
    const delivery = take(says);
    heard.push(...brief(await bob.receive(delivery, mesh.now)));
    assert.deepEqual(brief(await bob.receive(delivery, mesh.now)), ['replayed 1'], SEED_NOTE);
  }
  assert.deepEqual(
    heard.map(Number).sort((a, b) => a - b),
    [...Array(40).keys()],
  );
});

test('lost messages are counted, and what comes after its time is refused', async () => {
  const { mesh, alice, bob } = await two();
  const says = [];
  for (let n = 0; n < 5; n += 1) says.push(await mesh.say(alice, n));
  const [zero, one, , three] = says;
  assert.ok(zero && one && three);
  assert.deepEqual(brief(await bob.receive(zero, mesh.now)), [0]);
  assert.deepEqual(brief(await bob.receive(three, mesh.now)), ['messages_lost 2', 3]);
  assert.deepEqual(brief(await bob.receive(one, mesh.now)), ['reordered 1']);
  // Directs to others and volatile frames are no holes.
  const carol = await mesh.join();
  await mesh.say(alice, 'x', { to: carol });
  await mesh.say(alice, 'y', { volatile: true });
  const [last] = says.slice(-1);
  assert.ok(last);
  assert.deepEqual(brief(await bob.receive(last, mesh.now)), [4]);
  assert.deepEqual(brief(await bob.receive(await mesh.say(alice, 5), mesh.now)), [5]);
});

test('the first message after a meeting is missed, too', async () => {
  const mesh = await Mesh.create();
  const alice = await mesh.join();
  await mesh.say(alice, 'before Bob came');
  const bob = await mesh.join();
  await mesh.say(alice, 'lost on the way');
  const effects = await bob.receive(await mesh.say(alice, 'heard'), mesh.now);
  assert.deepEqual(brief(effects), ['messages_lost 1', 'heard']);
});

test('what was said before a member came cannot be played to it', async () => {
  const mesh = await Mesh.create();
  const alice = await mesh.join();
  const old = [];
  for (let n = 0; n < 30; n += 1) {
    old.push(await mesh.say(alice, n));
    mesh.now += 500;
  }
  const bob = await mesh.enter();
  const [held, ...rest] = old;
  assert.ok(held);
  assert.deepEqual(await bob.receive(held, mesh.now), []);
  const hello = mesh.delivery(bob, await bob.hello(undefined, mesh.now));
  await alice.receive(hello, mesh.now);
  const answer = mesh.delivery(alice, await alice.hello(bob.self, mesh.now), { direct: true });
  assert.deepEqual(brief(await bob.receive(answer, mesh.now)), ['greet', 'verified', 'replayed 1']);
  const heard = [];
  for (const delivery of rest) heard.push(...brief(await bob.receive(delivery, mesh.now)));
  // What may have been under way when it came is for it: 10 s, to the second.
  const first = heard.findIndex((said) => said !== 'replayed 1') + 1;
  assert.ok(first >= 8 && first <= 10, String(first));
  assert.deepEqual(heard.slice(first - 1), [...Array(30).keys()].slice(first));
});

test('after a silence nothing of what was said before can be played', async () => {
  const mesh = await Mesh.create();
  const alice = await mesh.join();
  const old = await mesh.say(alice, 'old');
  mesh.now += UNDER_WAY_MS;
  const bob = await mesh.join();
  assert.deepEqual(brief(await bob.receive(old, mesh.now)), ['replayed 1']);
  assert.deepEqual(brief(await bob.receive(await mesh.say(alice, 'new'), mesh.now)), ['new']);
});

test('what was under way when a member came is no hole', async () => {
  const mesh = await Mesh.create();
  const alice = await mesh.join();
  await mesh.say(alice, 'ordered before');
  const underWay = [await mesh.say(alice, 'under way'), await mesh.say(alice, 'and this')];
  const bob = await mesh.join();
  const heard = [];
  for (const delivery of underWay) heard.push(...brief(await bob.receive(delivery, mesh.now)));
  heard.push(...brief(await bob.receive(await mesh.say(alice, 'after'), mesh.now)));
  assert.deepEqual(heard, ['under way', 'and this', 'after']);
});

test('yesterday’s session, played to a newcomer, is never believed', async () => {
  const { mesh, alice, bob } = await two();
  const recorded = [mesh.delivery(alice, await alice.hello(undefined, mesh.now))];
  recorded.push(mesh.delivery(alice, await alice.hello(bob.self, mesh.now), { direct: true }));
  recorded.push(await mesh.say(alice, 'buy'), await mesh.say(alice, 'sell', { to: bob }));
  const carol = await mesh.enter();
  const heard = [];
  for (const delivery of recorded) heard.push(...brief(await carol.receive(delivery, mesh.now)));
  // Its HELLO to all is answered; nobody is there to answer back.
  assert.deepEqual(heard, ['greet', 'replayed 1']);
  assert.equal(carol.signPublics().length, 1);
  assert.deepEqual(brief(carol.expire(mesh.now + QUARANTINE.waitMs)), ['never_verified 2']);
});

test('an answer to somebody else’s challenge proves nothing', async () => {
  const { mesh, alice, bob } = await two();
  const carol = await mesh.enter();
  for (const direct of [true, false]) {
    const answer = mesh.delivery(alice, await alice.hello(bob.self, mesh.now), { direct });
    assert.deepEqual(brief(await carol.receive(answer, mesh.now)), ['replayed 1']);
  }
  const toAll = mesh.delivery(alice, await alice.hello(undefined, mesh.now), { direct: true });
  assert.deepEqual(brief(await carol.receive(toAll, mesh.now)), ['replayed 1']);
});

test('a member’s keys cannot be exchanged while it is there', async () => {
  const { mesh, alice, bob } = await two();
  // With the link's key, and a relay that lends it Alice's name.
  const { room, epochKey } = mesh.certificate;
  const parts = { room, epochKey, self: alice.self, members: [bob.self], sizes: SIZES, now: 0 };
  const mallory = await Session.create(parts);
  const hello = mesh.delivery(alice, await mallory.hello(undefined, mesh.now));
  assert.deepEqual(brief(await bob.receive(hello, mesh.now)), ['identity_changed 1']);
  const forged = await mallory.seal({ kind: 'text', data: new Uint8Array(1) }, {}, 0);
  assert.deepEqual(await bob.receive(mesh.delivery(alice, forged), mesh.now), []);
  assert.deepEqual(brief(await bob.receive(await mesh.say(alice, 'me'), mesh.now)), ['me']);
});

/**
 * What a member can make that does not keep to the rules, but has the link's key.
 *
 * @param {Mesh} mesh
 */
async function forger(mesh) {
  const { room, epochKey } = mesh.certificate;
  const self = 'AQIDBAUGBwg';
  const identity = await createIdentity();
  const keys = await deriveSender(epochKey, random(16));
  let counter = 0;
  const place = { room, from: memberBytes(self) };
  return {
    self,
    keys,
    /** @param {Partial<import('../src/hello.js').Hello>} [change] */
    hello: (change) =>
      encodeHello({
        signPublic: identity.signPublic,
        agreePublic: identity.agreePublic,
        challenge: random(16),
        answer: null,
        generation: 0,
        since: 0,
        sent: 0,
        ...change,
      }),
    /**
     * @param {Uint8Array<ArrayBuffer>} body
     * @param {{ kind?: number, epoch?: number, sender?: typeof keys }} [change]
     */
    async seal(body, change) {
      const parts = { kind: KIND.hello, epoch: 0, sender: keys, body, ...change };
      const frame = { ...parts, counter, signKey: identity.signKey };
      counter += 1;
      const payload = await sealFrame(place, frame, SIZES);
      assert.ok(payload);
      return { direct: false, own: false, volatile: false, seq: 1, from: self, payload };
    },
  };
}

test('a HELLO that is well made but breaks a rule is refused', async () => {
  const mesh = await Mesh.create();
  const alice = await mesh.join();
  const mallory = await forger(mesh);
  alice.join(mallory.self, mesh.now);
  const { keys } = mallory;
  const [sidOfOthers, refused] = [random(16), ['undecryptable 1']];
  sidOfOthers.set(keys.sid.subarray(0, 8));
  const hello = mallory.hello();
  for (const [delivery, expected] of /** @type {const} */ ([
    [mallory.seal(hello, { epoch: 1 }), refused],
    [mallory.seal(hello, { sender: { ...keys, commitment: random(16) } }), refused],
    [mallory.seal(mallory.hello({ challenge: new Uint8Array(16) })), refused],
    [mallory.seal(mallory.hello({ signPublic: new Uint8Array(32).fill(1) })), refused],
    [mallory.seal(hello.subarray(1)), refused],
    [mallory.seal(hello), ['greet']],
    // The same first half, and sealed with the keys that are known for it.
    [mallory.seal(hello, { sender: { ...keys, sid: sidOfOthers } }), refused],
    [mallory.seal(hello), ['greet']],
  ])) {
    assert.deepEqual(brief(await alice.receive(await delivery, mesh.now)), expected);
    mesh.now += 3_600_000;
  }
  assert.equal(alice.signPublics().length, 1);
});

test('an answer that the relay shows to all is none', async () => {
  const { mesh, alice } = await two();
  const carol = await mesh.enter();
  await alice.receive(mesh.delivery(carol, await carol.hello(undefined, mesh.now)), mesh.now);
  const answer = mesh.delivery(alice, await alice.hello(carol.self, mesh.now));
  assert.deepEqual(brief(await carol.receive(answer, mesh.now)), ['replayed 1']);
  const straight = { ...answer, direct: true };
  assert.deepEqual(brief(await carol.receive(straight, mesh.now)), ['greet', 'verified']);
});

test('an answer raises the floor that a HELLO to all has left open', async () => {
  const mesh = await Mesh.create();
  const alice = await mesh.join();
  const old = await mesh.say(alice, 'old');
  mesh.now += UNDER_WAY_MS;
  const bob = await mesh.enter();
  const again = mesh.delivery(alice, await alice.hello(undefined, mesh.now));
  assert.deepEqual(brief(await bob.receive(again, mesh.now)), ['greet']);
  await mesh.greet(bob);
  assert.equal(bob.signPublics().length, 2);
  assert.deepEqual(brief(await bob.receive(old, mesh.now)), ['replayed 1']);
});

test('nobody without the link’s key is verified', async () => {
  const [mesh, other] = [await Mesh.create(), await Mesh.create()];
  const alice = await mesh.join();
  const stranger = await other.enter();
  alice.join(stranger.self, mesh.now);
  const hello = mesh.delivery(stranger, await stranger.hello(undefined, mesh.now));
  assert.deepEqual(brief(await alice.receive(hello, mesh.now)), ['undecryptable 1']);
  assert.equal(alice.signPublics().length, 1);
});

test('frames of nobody, of other suites and of later kinds', async () => {
  const { mesh, alice, bob } = await two();
  const delivery = await mesh.say(alice, 'x');
  const refused = ['undecryptable 1'];
  const from = 'AAAAAAAAAAA';
  assert.deepEqual(brief(await bob.receive({ ...delivery, from }, mesh.now)), refused);
  for (const [at, value, expected] of /** @type {[number, number, string[]][]} */ ([
    [0, 2, refused],
    [3, 1, refused],
    [1, KIND.ctrl, []],
    [1, KIND.file, []],
    [1, KIND.mls, []],
    [1, 200, []],
  ])) {
    const payload = delivery.payload.slice();
    payload[at] = value;
    assert.deepEqual(brief(await bob.receive({ ...delivery, payload }, mesh.now)), expected);
  }
});

test('no two frames ever share key and counter, however they are sealed', async () => {
  const mesh = await Mesh.create();
  const alice = await mesh.join({ frames: 50, ms: 1000 });
  const bob = await mesh.join();
  /** @type {Set<string>} */
  const used = new Set();
  let count = 0;
  for (let round = 0; round < 30; round += 1) {
    if (await alice.rekeyIfDue(mesh.now)) await alice.hello(undefined, mesh.now);
    const volatile = round % 3 === 0;
    // At the same time, as an application does that does not wait.
    const deliveries = await Promise.all([
      ...Array.from({ length: below(8) }, () => mesh.say(alice, round, { volatile })),
      mesh.say(alice, round, { to: bob }),
      alice.hello(undefined, mesh.now).then((payload) => mesh.delivery(alice, payload)),
    ]);
    for (const { payload } of deliveries) {
      const head = parseHead(payload);
      assert.ok(head);
      used.add(`${head.stream} ${head.counter}`);
      count += 1;
    }
  }
  assert.equal(used.size, count, SEED_NOTE);
  assert.ok(new Set([...used].map((id) => id.split(' ')[0])).size > 1, 'it took new keys');
});

test('a new sid goes on where the old one was: no hole, no new proof', async () => {
  const mesh = await Mesh.create();
  const bob = await mesh.join();
  const alice = await mesh.join({ frames: 4, ms: 1000 });
  assert.equal(await alice.rekeyIfDue(mesh.now), false);
  const before = await mesh.say(alice, 'old keys');
  const underWay = await mesh.say(alice, 'still old keys');
  assert.equal(await alice.rekeyIfDue(mesh.now), true);
  const hello = mesh.delivery(alice, await alice.hello(undefined, mesh.now));
  const after = await mesh.say(alice, 'new keys');
  assert.notEqual(parseHead(before.payload)?.stream, parseHead(after.payload)?.stream);
  const heard = [];
  for (const delivery of [before, hello, underWay, after]) {
    heard.push(...brief(await bob.receive(delivery, mesh.now)));
  }
  assert.deepEqual(heard, ['old keys', 'still old keys', 'new keys']);
  // Time is a reason as well.
  assert.equal(await alice.rekeyIfDue(mesh.now), false);
  assert.equal(await alice.rekeyIfDue(mesh.now + 1000), true);
  // Neither HELLO can be played again.
  assert.deepEqual(brief(await bob.receive(hello, mesh.now)), ['replayed 1']);
});

test('an outdated sid is not taken up again', async () => {
  const mesh = await Mesh.create();
  const bob = await mesh.join();
  const alice = await mesh.join({ frames: 1, ms: 1000 });
  const early = await mesh.say(alice, 'early');
  const hellos = [];
  for (let n = 0; n < 4; n += 1) {
    assert.ok(await alice.rekeyIfDue(mesh.now));
    hellos.push(mesh.delivery(alice, await alice.hello(undefined, mesh.now)));
  }
  for (const hello of hellos) assert.deepEqual(await bob.receive(hello, mesh.now), []);
  const [first] = hellos;
  assert.ok(first);
  assert.deepEqual(brief(await bob.receive(first, mesh.now)), ['replayed 1']);
  // Two sids are kept; what comes under an older one waits for a HELLO that will not come.
  assert.deepEqual(await bob.receive(early, mesh.now), []);
  assert.deepEqual(brief(bob.leave(alice.self)), ['never_verified 1']);
});

test('a newcomer learns the keys that are in use', async () => {
  const mesh = await Mesh.create();
  const alice = await mesh.join({ frames: 2, ms: 1000 });
  await mesh.say(alice, 1);
  assert.ok(await alice.rekeyIfDue(mesh.now));
  await alice.hello(undefined, mesh.now);
  const bob = await mesh.join();
  assert.deepEqual(brief(await bob.receive(await mesh.say(alice, 'hi'), mesh.now)), ['hi']);
});

test('announcing oneself again and again is not listened to', async () => {
  const { mesh, alice, bob } = await two();
  const codes = [];
  for (let n = 0; n < 12; n += 1) {
    const hello = mesh.delivery(alice, await alice.hello(undefined, mesh.now));
    codes.push(...brief(await bob.receive(hello, mesh.now)));
  }
  const answered = codes.filter((code) => code === 'greet').length;
  assert.ok(answered > 0 && answered <= 8);
  assert.deepEqual([...new Set(codes.slice(answered))], ['too_many_hellos 1']);
  const later = mesh.delivery(alice, await alice.hello(undefined, mesh.now));
  assert.deepEqual(brief(await bob.receive(later, mesh.now + 3_600_000)), ['greet']);
});

test('what waits is bounded in number, in bytes and in time', async () => {
  const { mesh, alice, bob } = await two();
  const carol = await mesh.enter();
  let refused = 0;
  const says = QUARANTINE.framesPerMember + 5;
  for (let n = 0; n < says; n += 1) {
    const effects = brief(await carol.receive(await mesh.say(alice, n), mesh.now));
    refused += effects.filter((code) => code === 'quarantine_full 1').length;
  }
  assert.equal(refused, 5);
  // Another member has room of its own.
  assert.deepEqual(await carol.receive(await mesh.say(bob, 'hi'), mesh.now + 5), []);
  assert.equal(carol.nextExpiry, mesh.now + QUARANTINE.waitMs);
  assert.deepEqual(brief(carol.expire(mesh.now + QUARANTINE.waitMs - 1)), []);
  const expired = brief(carol.expire(mesh.now + QUARANTINE.waitMs));
  assert.deepEqual(expired, [`never_verified ${QUARANTINE.framesPerMember}`]);
  assert.deepEqual(brief(carol.leave(bob.self)), ['never_verified 1']);
  assert.equal(carol.nextExpiry, null);
});

test('many members together have a bounded room to wait in', async () => {
  const mesh = await Mesh.create();
  const talkers = [];
  for (let n = 0; n < 5; n += 1) talkers.push(await mesh.enter());
  const carol = await mesh.enter();
  let held = 0;
  for (const talker of talkers) {
    for (let n = 0; n < QUARANTINE.framesPerMember; n += 1) {
      held += (await carol.receive(await mesh.say(talker, n), mesh.now)).length === 0 ? 1 : 0;
    }
  }
  assert.equal(held, QUARANTINE.frames);
});

test('large frames fill the room of one who is not verified', async () => {
  const { mesh, alice } = await two();
  const carol = await mesh.enter();
  const large = 'x'.repeat(60_000);
  let held = 0;
  while (brief(await carol.receive(await mesh.say(alice, large), mesh.now)).length === 0) held += 1;
  assert.equal(held, QUARANTINE.bytesPerMember / 65536);
});

test('volatile frames do not wait', async () => {
  const { mesh, alice } = await two();
  const carol = await mesh.enter();
  const delivery = await mesh.say(alice, 'now', { volatile: true });
  assert.deepEqual(await carol.receive(delivery, mesh.now), []);
  assert.equal(carol.nextExpiry, null);
});

test('an echo is opened once, and only if the relay calls it one', async () => {
  const { mesh, alice, bob } = await two();
  const delivery = await mesh.say(alice, 'mine');
  const refused = ['undecryptable 1'];
  assert.deepEqual(brief(await alice.receive(delivery, mesh.now)), refused);
  assert.deepEqual(brief(await bob.receive({ ...delivery, own: true }, mesh.now)), refused);
  const hello = mesh.delivery(alice, await alice.hello(undefined, mesh.now), { own: true });
  assert.deepEqual(brief(await bob.receive(hello, mesh.now)), refused);
  const echo = { ...delivery, own: true };
  const [effect] = await alice.receive(echo, mesh.now);
  assert.ok(effect?.type === 'message' && effect.message.own && effect.message.data === 'mine');
  assert.deepEqual(brief(await alice.receive(echo, mesh.now)), ['replayed 1']);
});

test('too much for one frame is refused before it counts as said', async () => {
  const { mesh, alice, bob } = await two();
  const most = 'x'.repeat(alice.bodyLengthMax - 8);
  await assert.rejects(mesh.say(alice, `${most}x`), { code: 'too_large' });
  await assert.rejects(mesh.say(alice, most, { to: bob }), { code: 'too_large' });
  assert.deepEqual(brief(await bob.receive(await mesh.say(alice, most), mesh.now)), [most]);
  await assert.rejects(
    alice.seal({ kind: 'text', data: new Uint8Array(1) }, { to: 'AAAAAAAAAAA' }, 0),
    {
      code: 'no_such_member',
    },
  );
});

/**
 * @param {import('../src/wire.js').Delivery[]} from
 * @returns {import('../src/wire.js').Delivery} Any of them.
 */
function take(from) {
  const [taken] = from.splice(below(from.length), 1);
  assert.ok(taken);
  return taken;
}

for (const lost of [0, 1, 2]) {
  test(`a HELLO to all once more heals the loss of the HELLO with number ${lost} of three`, async () => {
    const mesh = await Mesh.create();
    const alice = await mesh.join();
    const bob = await mesh.enter();
    let to = alice;
    let hello = mesh.delivery(bob, await bob.hello(undefined, mesh.now));
    for (let number = 0; number < lost; number += 1) {
      assert.ok(brief(await to.receive(hello, mesh.now)).includes('greet'));
      const from = to;
      to = from === alice ? bob : alice;
      hello = mesh.delivery(from, await from.hello(to.self, mesh.now), { direct: true });
    }
    // Whoever did not get it has a gap, and is the one that asks again.
    await mesh.greet(to);
    assert.deepEqual([alice.isSettled, bob.isSettled], [true, true]);
    assert.deepEqual(brief(await bob.receive(await mesh.say(alice, 'a'), mesh.now)), ['a']);
    assert.deepEqual(brief(await alice.receive(await mesh.say(bob, 'b'), mesh.now)), ['b']);
  });
}

test('behind a broken order all prove themselves anew, and nothing from before counts again', async () => {
  const mesh = await Mesh.create();
  const alice = await mesh.join();
  const bob = await mesh.join();
  const before = await mesh.say(alice, 'before');
  assert.deepEqual(brief(await bob.receive(before, mesh.now)), ['before']);
  for (const session of [alice, bob]) assert.deepEqual(session.restart(mesh.now), []);
  assert.equal(alice.signPublics().length, 1);
  await mesh.greet(alice);
  await mesh.greet(bob);
  assert.deepEqual([alice.signPublics().length, bob.signPublics().length], [2, 2]);
  assert.deepEqual(brief(await bob.receive(await mesh.say(alice, 'after'), mesh.now)), ['after']);
  assert.notDeepEqual(brief(await bob.receive(before, mesh.now)), ['before']);
});
