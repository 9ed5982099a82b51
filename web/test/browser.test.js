/** Two people in two browsers, one real relay between them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Recorder } from './support/recorder.js';
import {
  enter,
  hears,
  isCalm,
  isSent,
  makeRoom,
  say,
  secretsOf,
  talk,
  together,
} from './support/rooms.js';
import { prepareStage } from './support/stage.js';

/**
 * What browsers write into the console when a relay is gone for a while and has forgotten the room when
 * it is back (403, whereupon the members restore it). No page can prevent these lines.
 */
const RELAY_GONE =
  /ERR_CONNECTION_REFUSED|can’t establish a connection|was interrupted|WebSocket connection to .* failed|status of 403/;

const stage = prepareStage();
const { guest } = stage;

/** A room with its maker in Chromium and one more person. */
async function roomOfTwo(kind = 'firefox') {
  const [ann, bob] = [await guest('chromium'), await guest(kind)];
  const link = await makeRoom(ann, stage.relay.url);
  await enter(bob, link);
  await together(ann, bob);
  return { ann, bob, link };
}

for (const [one, other] of [
  ['chromium', 'firefox'],
  ['chromium', 'chromium'],
  ['firefox', 'firefox'],
]) {
  test(`${one} and ${other} talk in one room, both ways`, async () => {
    const [ann, bob] = [await guest(one), await guest(other)];
    const link = await makeRoom(ann, stage.relay.url);
    await enter(bob, link);
    await together(ann, bob);
    await talk('hello', ann, bob);
    await talk('Grüße, 你好 🦦, ‏שלום', bob, ann);
    for (const person of [ann, bob]) await isCalm(person);
  });
}

test('what is written is shown as it was written, never as markup', async () => {
  const { ann, bob } = await roomOfTwo();
  const text =
    '<img src=x onerror="document.title=1"> <b>b</b> &amp; https://example.org/\nsecond line';
  await ann.fill('#text', text);
  await ann.press('Enter');
  await hears(bob, text);
  const inside = await bob.evaluate(
    () => document.querySelector('.message:not(.own) .text').children.length,
  );
  assert.equal(inside, 0);
  for (const person of [ann, bob]) await isCalm(person);
});

test('somebody who loads the page again comes back, in either browser', async () => {
  const { ann, bob } = await roomOfTwo();
  for (const person of [bob, ann]) {
    await person.reload();
    await person.sees('#state', /Connected/);
    await together(ann, bob);
    await talk('back again', ann, bob);
  }
  for (const person of [ann, bob]) await isCalm(person);
});

test('the verification words are the same for everybody, and change with the people', async () => {
  const { ann, bob, link } = await roomOfTwo();
  const words = async (person) => {
    await person.until(
      () =>
        document.querySelectorAll('#words li').length === 8 &&
        document.querySelector('#digits').textContent.replace(/\D/g, '').length === 60,
    );
    return await person.evaluate(() =>
      [...document.querySelectorAll('#words li, #digits')]
        .map((item) => item.textContent)
        .join(' '),
    );
  };
  for (const person of [ann, bob]) await person.click('#open-verify');
  const before = await words(ann);
  assert.equal(await words(bob), before);

  const eve = await guest('chromium');
  await enter(eve, link);
  await together(ann, bob, eve);
  await eve.click('#open-verify');
  const now = await words(eve);
  assert.notEqual(now, before);
  for (const person of [ann, bob]) {
    await person.until(
      (wanted) =>
        [...document.querySelectorAll('#words li, #digits')]
          .map((item) => item.textContent)
          .join(' ') === wanted,
      now,
    );
  }
});

test('the relay dies and starts again: both come back and talk', async () => {
  const { ann, bob } = await roomOfTwo();
  await talk('before', ann, bob);
  await stage.relay.kill();
  for (const person of [ann, bob]) await person.sees('#state', /Reconnecting/);
  await ann.sees('.note.warn', /sent when the connection is back/);
  await ann.fill('#text', 'written while it was away');
  await ann.press('Enter');
  await stage.relay.restart();
  for (const person of [ann, bob]) await person.sees('#state', /Connected/);
  await together(ann, bob);
  await isSent(ann, 'written while it was away');
  await talk('after', ann, bob);
  for (const person of [ann, bob]) await isCalm(person, RELAY_GONE);
});

test('a relay that cannot be reached is named, and the way back stays open', async () => {
  const ann = await guest('chromium');
  const link = await makeRoom(ann, stage.relay.url);
  const bob = await guest('chromium');
  await bob.open(stage.relay.url);
  await stage.relay.kill();
  await bob.fill('#link', link);
  await bob.press('Enter');
  await bob.sees('#entering', /relay cannot be reached/);
  await stage.relay.restart();
  await bob.sees('#state', /Connected/);
});

test('a wrong link gets a clear message', async () => {
  const ann = await guest('firefox');
  const bob = await guest('chromium');
  const link = await makeRoom(ann, stage.relay.url);
  const wrong = [
    [`${stage.relay.url}#1.tooshort.AAAA`, /damaged/],
    [link.slice(0, -1), /damaged/],
    [`${stage.relay.url}#9${new URL(link).hash.slice(2)}`, /another version/],
    [`${stage.relay.url}#hello`, /not the link of a room/],
  ];
  for (const [address, message] of wrong) {
    // The fragment alone does not load a page anew, so go by way of another one.
    await bob.open('about:blank');
    await bob.open(address);
    await bob.sees('#problem', /does not open a room/);
    await bob.sees('#problem', message);
    await bob.sees('#create');
  }
  const pasted = [
    ['', /Paste the link first/],
    ['no link at all', /incomplete/],
    [link.slice(0, -1), /damaged/],
    [`https://other.example/${new URL(link).hash}`, /belongs to another site, other\.example/],
  ];
  for (const [text, message] of pasted) {
    await bob.fill('#link', text);
    await bob.click('#join button');
    await bob.sees('#link-error', message);
  }
  await bob.fill('#link', `  ${new URL(link).hash}\n`);
  await bob.press('Enter');
  await bob.sees('#state', /Connected/);
  await together(ann, bob);
  await isCalm(bob);
});

test('the maker locks the room: nobody comes in until it is open again', async () => {
  const { ann, bob, link } = await roomOfTwo();
  assert.equal(await bob.evaluate(() => document.querySelector('#owner').checkVisibility()), false);
  await ann.click('#lock');
  for (const person of [ann, bob]) await person.sees('.note', /The room is locked/);

  const eve = await guest('chromium');
  await eve.open(link);
  await eve.sees('#problem', /This room is locked/);
  await ann.sees('#lock', /Unlock/);
  await ann.click('#lock');
  await bob.sees('.note', /open again/);
  await eve.click('#problem-retry');
  await eve.sees('#state', /Connected/);
  await together(ann, bob, eve);
});

test('somebody who lost the connection to a locked room tries again when it is open', async () => {
  const recorder = await Recorder.start(stage.relay.port);
  try {
    const [ann, bob] = [await guest('chromium'), await guest('chromium')];
    const { hash } = new URL(await makeRoom(ann, stage.relay.url));
    await enter(bob, recorder.url + hash);
    await together(ann, bob);
    await say(ann, 'said before');
    await hears(bob, 'said before');
    await ann.click('#lock');
    await bob.sees('.note', /The room is locked/);
    recorder.cut();
    await bob.sees('#ended', /This room is locked/);
    await ann.click('#lock');
    await ann.sees('#lock', /Lock the room/);
    await bob.click('#ended-retry');
    await bob.sees('#state', /Connected/);
    await together(ann, bob);
    await hears(bob, 'said before');
    await talk('again', ann, bob);
  } finally {
    await recorder.stop();
  }
});

test('the maker removes somebody: they are told, and the others go on', async () => {
  const { ann, bob, link } = await roomOfTwo();
  const eve = await guest('firefox');
  await enter(eve, link);
  await together(ann, bob, eve);
  const name = await eve.text('.person strong');
  await ann.click(`button[aria-label="Remove ${name}"]`);
  await ann.sees('#confirm-title', new RegExp(`Remove ${name}`));
  await ann.click('#confirm-yes');
  await eve.sees('#ended', /You were removed/);
  await bob.sees('.note', new RegExp(`${name} was removed`));
  await together(ann, bob);
  await talk('only us', ann, bob);
});

test('the maker closes the room: everybody is told, and the link is dead', async () => {
  const { ann, bob, link } = await roomOfTwo();
  await ann.click('#close-room');
  await ann.click('#confirm-yes');
  for (const person of [ann, bob]) await person.sees('#ended', /This room is closed/);
  assert.equal(
    await bob.evaluate(() => document.querySelector('#composer').checkVisibility()),
    false,
  );
  const eve = await guest('chromium');
  await eve.open(link);
  await eve.sees('#problem', /This room is closed/);
  await bob.click('#ended-start');
  await bob.sees('#create');
  assert.equal(await bob.evaluate(() => location.hash), '');
});

test('the maker still owns the room after a reload, and no more after leaving', async () => {
  const { ann, bob, link } = await roomOfTwo();
  await ann.reload();
  await together(ann, bob);
  await ann.click('#lock');
  await bob.sees('.note', /The room is locked/);
  await ann.click('#lock');
  await bob.sees('.note', /open again/);
  await ann.click('#leave');
  await ann.click('#confirm-yes');
  await ann.sees('#create');
  await bob.sees('.note', / left/);
  assert.deepEqual(
    await ann.evaluate(() => [
      Object.keys(sessionStorage),
      Object.keys(localStorage),
      document.cookie,
    ]),
    [[], [], ''],
  );
  await enter(ann, link);
  await together(ann, bob);
  assert.equal(await ann.evaluate(() => document.querySelector('#owner').checkVisibility()), false);
});

test('the secret of the link never leaves a page, in any request or frame', async () => {
  const recorder = await Recorder.start(stage.relay.port);
  try {
    const [ann, bob] = [await guest('chromium'), await guest('firefox')];
    const link = await makeRoom(ann, recorder.url);
    await enter(bob, link);
    await together(ann, bob);
    await talk('nobody else reads this', ann, bob);
    await ann.click('#open-invite');
    await ann.sees('#code');
    await ann.press('Escape');
    for (const person of [ann, bob]) {
      await person.reload();
      await together(ann, bob);
    }
    await say(bob, 'a last word');
    await hears(ann, 'a last word');
    await ann.click('#close-room');
    await ann.click('#confirm-yes');
    await bob.sees('#ended', /closed/);

    const { requests, http, frames } = recorder.sent();
    assert.ok(
      requests.some((line) => line.startsWith('POST /v1/rooms ')),
      'the recorder heard the calls',
    );
    assert.ok(
      requests.filter((line) => line.startsWith('GET /v1/ws ')).length >= 4,
      'and the handshakes',
    );
    const sends = frames.filter((frame) => frame[0] === 0x01 && frame.length >= 256);
    assert.ok(sends.length >= 3, 'and the messages, unmasked and padded');
    const [, , owner] = new URL(link).hash.split('.');
    assert.ok(http.includes(owner), 'what a link tells the relay is found, so the rest would be');
    for (const secret of secretsOf(link)) {
      assert.equal(http.indexOf(secret), -1, 'in a request');
      assert.equal(
        frames.findIndex((frame) => frame.includes(secret)),
        -1,
        'in a frame',
      );
    }
    assert.doesNotMatch(http.toString('latin1'), /^referer:/im);
    const plain = ['nobody else reads this', 'a last word'];
    for (const text of plain)
      assert.equal(
        frames.findIndex((frame) => frame.includes(text)),
        -1,
        'the relay could read',
      );
    for (const person of [ann, bob]) {
      const elsewhere = person.requests.filter(
        (url) =>
          !url.startsWith(recorder.url) &&
          !url.startsWith('data:') &&
          !url.startsWith(recorder.url.replace('http', 'ws')),
      );
      assert.deepEqual(elsewhere, [], 'a page asks only the place that it came from');
      await isCalm(person);
    }
  } finally {
    await recorder.stop();
  }
});
