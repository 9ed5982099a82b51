/** Everybody can use the page: by keyboard, with a screen reader, on a narrow phone. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import axe from 'axe-core';

import { enter, hears, isCalm, isSent, makeRoom, say, together } from './support/rooms.js';
import { prepareStage } from './support/stage.js';

const stage = prepareStage();
const { guest } = stage;

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
    await ann.open(stage.relay.url);
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

    await ann.open(`${stage.relay.url}#1.wrong`);
    await ann.sees('#problem');
    await isOpenToAll(ann, 'start, with a problem');
    const link = await makeRoom(ann, stage.relay.url);
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
  await ann.open(stage.relay.url);
  await ann.sees('#create');
  await fits('start');
  const link = await makeRoom(ann, stage.relay.url);
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
