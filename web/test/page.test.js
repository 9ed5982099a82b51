/** The page itself: sharing, the log, the theme, the address, and the policy that it is served under. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import jsqr from 'jsqr';
import { PNG } from 'pngjs';

import { enter, hears, isSent, makeRoom, say, together } from './support/rooms.js';
import { prepareStage } from './support/stage.js';

const stage = prepareStage();
const { guest } = stage;

test('the code on the screen is the link, and another browser gets in with it', async () => {
  const ann = await guest('chromium');
  const link = await makeRoom(ann, stage.relay.url);
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
  const link = await makeRoom(ann, stage.relay.url);
  await ann.click('#alone-copy');
  await ann.sees('#alone-copy', /Copied/);
  await ann.click('#text');
  await ann.press('Control+V');
  await ann.until((wanted) => document.querySelector('#text').value === wanted, link);
  await ann.sees('#alone-copy', /Copy the link/);
  assert.equal(await ann.evaluate(() => document.querySelector('#invite-link').value), '');
});

test('where the system can share, the link is handed to it', async () => {
  const ann = await guest('chromium');
  await ann.context.addInitScript(() => {
    navigator.share = (what) => {
      globalThis.shared = what;
      return Promise.resolve();
    };
  });
  const link = await makeRoom(ann, stage.relay.url);
  await ann.click('#open-invite');
  await ann.click('#share');
  await ann.until((wanted) => globalThis.shared?.url === wanted, link);

  const bob = await guest('firefox');
  await bob.page.evaluateOnNewDocument(() => {
    Object.defineProperty(Navigator.prototype, 'share', { value: undefined });
  });
  await makeRoom(bob, stage.relay.url);
  await bob.click('#open-invite');
  await bob.sees('#copy');
  assert.equal(await bob.evaluate(() => document.querySelector('#share').checkVisibility()), false);
});

test('a browser that refuses the clipboard gets the link to copy by hand', async () => {
  const ann = await guest('chromium');
  const link = await makeRoom(ann, stage.relay.url);
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
  const link = await makeRoom(bob, stage.relay.url);
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
  await makeRoom(ann, stage.relay.url);
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
  await makeRoom(ann, stage.relay.url);
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

test('what happens again and again takes one line, so that it pushes nothing out', async () => {
  const ann = await guest('chromium');
  await makeRoom(ann, stage.relay.url);
  const lines = await ann.evaluate(async () => {
    const { Chat } = await import('./chat.js');
    const chat = new Chat(
      () => Promise.resolve(),
      () => {},
    );
    const heron = { id: 'x', name: 'Amber Heron', initials: 'AH', tint: 1 };
    for (let i = 0; i < 2000; i++) chat.note('A message was refused.', { warn: true });
    chat.receive(heron, 'hello');
    chat.note('A message was refused.');
    return [...document.querySelectorAll('#messages > li > :first-child, #messages .text')].map(
      (line) => line.textContent,
    );
  });
  assert.deepEqual(lines, [
    'A message was refused. (2000 times)',
    'AH',
    'hello',
    'A message was refused.',
  ]);
});

test('somebody who reads further up is told of new messages instead of being moved', async () => {
  const [ann, bob] = [await guest('chromium'), await guest('chromium')];
  const link = await makeRoom(ann, stage.relay.url);
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
  await ann.open(stage.relay.url);
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
  const link = await makeRoom(ann, stage.relay.url);
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
  await ann.open(stage.relay.url);
  await ann.sees('#problem', /This browser cannot join/);
});

test('the page is served under a policy that lets no foreign script or text become code', async () => {
  const ann = await guest('chromium');
  const answer = await ann.page.goto(stage.relay.url);
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
