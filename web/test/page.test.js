/** The page itself: by keyboard, on a phone, for a screen reader, and the small things that must be right. */

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import axe from 'axe-core';
import jsqr from 'jsqr';
import { PNG } from 'pngjs';

import { Browsers } from './support/guests.js';
import { Relay } from './support/relay.js';
import { enter, hears, isCalm, isSent, makeRoom, say, together } from './support/rooms.js';

let browsers;
let relay;
let guests = [];

before(async () => {
  relay = await Relay.start();
  browsers = await Browsers.start();
});

after(async () => {
  await Promise.allSettled([browsers?.stop(), relay?.stop()]);
});

afterEach(async () => {
  const left = guests;
  guests = [];
  await Promise.all(left.map((guest) => guest.leave()));
});

async function guest(kind, options) {
  const one = await browsers.guest(kind, options);
  guests.push(one);
  return one;
}

/** Presses Tab until the element with this selector has the focus. */
async function tabTo(person, selector) {
  for (let presses = 0; presses < 40; presses++) {
    if (await person.evaluate((one) => document.activeElement.matches(one), selector)) return;
    await person.press('Tab');
  }
  assert.fail(`the Tab key does not reach ${selector}`);
}

async function pressWithShift(person, key) {
  await person.page.keyboard.down('Shift');
  await person.press(key);
  await person.page.keyboard.up('Shift');
}

for (const kind of ['chromium', 'firefox']) {
  test(`the whole way by keyboard alone, in ${kind}`, async () => {
    const ann = await guest(kind);
    await ann.open(relay.url);
    await ann.sees('#create');
    await tabTo(ann, '#create');
    const outline = await ann.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, 'solid', 'the focus can be seen');
    await ann.press('Enter');
    await ann.sees('#state', /Connected/);
    assert.equal(
      await ann.evaluate(() => document.activeElement.id),
      'text',
      'the cursor is in the field',
    );

    await ann.type('one');
    await pressWithShift(ann, 'Enter');
    await ann.type('two');
    await ann.press('Enter');
    await isSent(ann, 'one\ntwo');
    assert.equal(await ann.evaluate(() => document.activeElement.id), 'text');
    await ann.press('Enter');
    assert.equal(
      await ann.evaluate(() => document.querySelectorAll('.message').length),
      1,
      'nothing is sent of nothing',
    );

    await tabTo(ann, '#open-verify');
    await ann.press('Enter');
    await ann.sees('#verify');
    await ann.press('Escape');
    assert.equal(
      await ann.evaluate(() => document.activeElement.id),
      'open-verify',
      'and back where we were',
    );

    await tabTo(ann, '#leave');
    await ann.press('Enter');
    await ann.sees('#confirm');
    assert.equal(await ann.evaluate(() => document.activeElement.id), 'confirm-no', 'the safe way');
    await pressWithShift(ann, 'Tab');
    assert.equal(await ann.evaluate(() => document.activeElement.id), 'confirm-yes');
    await ann.press('Enter');
    await ann.sees('#create');
    await isCalm(ann);
  });
}

/** Runs axe in the page, over the developer tools: the page's policy lets no script of ours in. */
async function audit(person) {
  const tools = await person.context.newCDPSession(person.page);
  await tools.send('Runtime.evaluate', { expression: axe.source });
  const { result } = await tools.send('Runtime.evaluate', {
    expression: `axe.run(document, { resultTypes: ['violations'] }).then(({ violations, passes }) => JSON.stringify({
      found: violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html.slice(0, 120))]),
      passed: passes.map(({ id }) => id) }))`,
    awaitPromise: true,
    returnByValue: true,
  });
  await tools.detach();
  const { found, passed } = JSON.parse(result.value);
  for (const rule of ['color-contrast', 'button-name'])
    assert.ok(passed.includes(rule), `axe tried ${rule}`);
  return found;
}

for (const colorScheme of ['light', 'dark']) {
  test(`nothing that axe knows keeps anybody out, ${colorScheme}`, async () => {
    const options = { colorScheme };
    const [ann, bob] = [await guest('chromium', options), await guest('chromium', options)];
    const isOpenToAll = async (person, where) => assert.deepEqual(await audit(person), [], where);

    await ann.open(`${relay.url}#1.wrong`);
    await ann.sees('#problem');
    await isOpenToAll(ann, 'start, with a problem');
    const link = await makeRoom(ann, relay.url);
    await isOpenToAll(ann, 'a new room');
    await ann.click('#open-invite');
    await isOpenToAll(ann, 'the invitation');
    await ann.press('Escape');

    await enter(bob, link);
    await together(ann, bob);
    for (const [speaker, other] of [
      [ann, bob],
      [bob, ann],
    ]) {
      await say(speaker, 'hello');
      await hears(other, 'hello');
    }
    await ann.fill('#text', 'x'.repeat(4001));
    await isOpenToAll(ann, 'a conversation');
    await ann.click('#open-verify');
    await ann.sees('#words li');
    await ann.click('#verify summary');
    await isOpenToAll(ann, 'the verification words');
    await ann.press('Escape');
    await ann.click('#close-room');
    await isOpenToAll(ann, 'a question');
    await ann.click('#confirm-yes');
    await bob.sees('#ended');
    await isOpenToAll(bob, 'the end');
  });
}

test('on a narrow phone nothing is wider than the screen', async () => {
  const viewport = { width: 360, height: 740 };
  const ann = await guest('chromium', { viewport, isMobile: true, hasTouch: true });
  const fits = async (where) => {
    const [wide, screen] = await ann.evaluate(() => [
      document.documentElement.scrollWidth,
      innerWidth,
    ]);
    assert.ok(wide <= screen && screen === viewport.width, `${where}: ${wide} on ${screen}`);
  };
  await ann.open(relay.url);
  await ann.sees('#create');
  await fits('start');
  const link = await makeRoom(ann, relay.url);
  await fits('room');
  const bob = await guest('chromium');
  await enter(bob, link);
  const long = `https://example.org/${'a'.repeat(300)} ${'wide '.repeat(60)}`.trim();
  await say(bob, long);
  await hears(ann, long);
  await fits('a long word');
  assert.equal(
    await ann.evaluate(() => document.querySelector('#people').checkVisibility()),
    false,
  );
  await ann.click('#toggle-panel');
  await ann.sees('#people .verified');
  await fits('panel');
  await ann.click('#open-verify');
  await ann.sees('#words li');
  await fits('verification words');
  await ann.press('Escape');
  await ann.click('#close-panel');
  await ann.sees('.message');
  await ann.click('#open-invite');
  await fits('invitation');
});

test('the code on the screen is the link, and another browser gets in with it', async () => {
  const ann = await guest('chromium');
  const link = await makeRoom(ann, relay.url);
  await ann.click('#alone-code');
  await ann.sees('#invite');
  const { data, width, height } = PNG.sync.read(await ann.picture('#code'));
  const read = jsqr(new Uint8ClampedArray(data), width, height);
  assert.equal(read?.data, link);
  const bob = await guest('firefox');
  await enter(bob, read.data);
  await together(ann, bob);
});

test('the link is copied, and the button says so', async () => {
  const ann = await guest('chromium', { permissions: ['clipboard-write'] });
  const link = await makeRoom(ann, relay.url);
  await ann.click('#alone-copy');
  await ann.sees('#alone-copy', /Copied/);
  await ann.click('#text');
  await ann.press('Control+V');
  await ann.until((wanted) => document.querySelector('#text').value === wanted, link);
  await ann.sees('#alone-copy', /Copy the link/);
  assert.equal(await ann.evaluate(() => document.querySelector('#invite-link').value), '');
});

test('a browser that refuses the clipboard gets the link to copy by hand', async () => {
  const ann = await guest('chromium');
  const link = await makeRoom(ann, relay.url);
  await ann.evaluate(() => {
    Object.defineProperty(navigator, 'clipboard', {
      value: { writeText: () => Promise.reject(new Error('no')) },
    });
  });
  await ann.click('#alone-copy');
  await ann.sees('#invite');
  await ann.until(
    (wanted) => getSelection().toString() === wanted || document.activeElement.value === wanted,
    link,
  );
  assert.equal(
    await ann.evaluate(() => {
      const { value, selectionStart, selectionEnd } = document.querySelector('#invite-link');
      return value.slice(selectionStart, selectionEnd);
    }),
    link,
  );
});

test('the title counts what came while nobody looked', async () => {
  const [ann, bob] = [await guest('firefox'), await guest('chromium')];
  const link = await makeRoom(bob, relay.url);
  await enter(ann, link);
  await together(ann, bob);
  const cover = await guest('firefox');
  await cover.look();
  await ann.until(() => document.hidden);
  for (const text of ['one', 'two']) await say(bob, text);
  await ann.until(() => document.title === '(2) Room · Lethewire');
  await ann.look();
  await ann.until(() => document.title === 'Room · Lethewire');
});

test('a message over the limit is told and not sent', async () => {
  const ann = await guest('chromium');
  await makeRoom(ann, relay.url);
  await ann.fill('#text', '🦦'.repeat(3700));
  await ann.sees('#text-length', /^300 characters left$/);
  await ann.fill('#text', '🦦'.repeat(4001));
  await ann.sees('#text-length', /^1 character too many/);
  await ann.press('Enter');
  assert.equal(await ann.evaluate(() => document.querySelectorAll('.message').length), 0);
  await ann.press('Backspace');
  await ann.press('Enter');
  await isSent(ann, '🦦'.repeat(4000));
});

test('the page keeps the last thousand lines', async () => {
  const ann = await guest('chromium');
  await makeRoom(ann, relay.url);
  const [lines, first, last] = await ann.evaluate(async () => {
    const { Chat } = await import('./chat.js');
    const chat = new Chat(
      () => Promise.resolve(),
      () => {},
    );
    for (let i = 0; i < 1005; i++)
      chat.receive({ id: 'x', name: 'Amber Heron', initials: 'AH', tint: 1 }, `line ${i}`);
    const all = [...document.querySelectorAll('#messages > li')];
    return [
      all.length,
      all[0].querySelector('.text').textContent,
      all.at(-1).querySelector('.text').textContent,
    ];
  });
  assert.deepEqual([lines, first, last], [1000, 'line 5', 'line 1004']);
});

test('somebody who reads further up is told of new messages instead of being moved', async () => {
  const [ann, bob] = [await guest('chromium'), await guest('chromium')];
  const link = await makeRoom(ann, relay.url);
  await enter(bob, link);
  await together(ann, bob);
  await say(bob, 'line\n'.repeat(80).trim());
  await hears(ann, 'line\n'.repeat(80).trim());
  await ann.until(() => {
    const log = document.querySelector('#log');
    return log.scrollTop + log.clientHeight >= log.scrollHeight - 1;
  });
  await ann.evaluate(() => {
    document.querySelector('#log').scrollTop = 0;
  });
  await ann.until(() => document.querySelector('#log').scrollTop === 0);
  await say(bob, 'news');
  await ann.sees('#to-end', /1 new message/);
  assert.equal(await ann.evaluate(() => document.querySelector('#log').scrollTop), 0);
  await ann.click('#to-end');
  await ann.until(
    () => document.querySelector('#to-end').hidden && document.querySelector('#log').scrollTop > 0,
  );
});

test('the theme follows the system until the button says otherwise, for this tab', async () => {
  const ann = await guest('chromium', { colorScheme: 'dark' });
  await ann.open(relay.url);
  const is = (theme) =>
    ann.until(
      (wanted) =>
        document.documentElement.dataset.theme === wanted &&
        document.querySelector('#theme').ariaPressed === String(wanted === 'dark'),
      theme,
    );
  await is('dark');
  await ann.page.emulateMedia({ colorScheme: 'light' });
  await is('light');
  await ann.click('#theme');
  await is('dark');
  await ann.reload();
  await is('dark');
  assert.deepEqual(await ann.evaluate(() => Object.keys(localStorage)), []);
});

test('going back in the browser leaves the room, going forward enters it again', async () => {
  const [ann, bob] = [await guest('chromium'), await guest('chromium')];
  const link = await makeRoom(ann, relay.url);
  await enter(bob, link);
  await together(ann, bob);
  await ann.page.goBack();
  await ann.sees('#create');
  await bob.sees('.note', / left/);
  await ann.page.goForward();
  await ann.sees('#state', /Connected/);
  await together(ann, bob);
});

test('a browser without the needed encryption is told so, and no room is made', async () => {
  const ann = await guest('chromium');
  await ann.context.addInitScript(() => {
    crypto.subtle.generateKey = () =>
      Promise.reject(new DOMException('no such algorithm', 'NotSupportedError'));
  });
  await ann.open(relay.url);
  await ann.sees('#problem', /This browser cannot join/);
});

test('the page is served under a policy that lets no foreign script or text become code', async () => {
  const ann = await guest('chromium');
  const answer = await ann.page.goto(relay.url);
  const policy = answer.headers()['content-security-policy'];
  for (const rule of [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ]) {
    assert.ok(policy.includes(rule), `${rule} is missing in: ${policy}`);
  }
  assert.equal(answer.headers()['referrer-policy'], 'no-referrer');
  const refused = await ann.evaluate(() => {
    try {
      document.body.innerHTML = '<b>text</b>';
      return false;
    } catch {
      return true;
    }
  });
  assert.equal(refused, true);
});
