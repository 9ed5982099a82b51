/** What people do in rooms, in the words of the tests. */

import assert from 'node:assert/strict';

/** Opens the page and makes a room; gives its link. */
export async function makeRoom(guest, url) {
  await guest.open(url);
  await guest.click('#create');
  await guest.sees('#state', /Connected/);
  return await guest.evaluate(() => location.href);
}

/** Comes into a room by its link. */
export async function enter(guest, link) {
  await guest.open(link);
  await guest.sees('#state', /Connected/);
}

/** Waits until everybody sees everybody, with their keys checked. */
export async function together(...guests) {
  for (const guest of guests) {
    await guest.until(
      (others) =>
        document.querySelectorAll('.person .verified').length === others &&
        document.querySelectorAll('.person').length === others + 1,
      guests.length - 1,
    );
  }
}

/** Writes a message and waits until the relay has taken it. */
export async function say(guest, text) {
  await guest.fill('#text', text);
  await guest.press('Enter');
  await isSent(guest, text);
}

/** Waits until an own message stands there as sent. */
export async function isSent(guest, text) {
  await guest.until(
    (wanted) =>
      [...document.querySelectorAll('.message.own:not(.waiting, .failed) .text')].some(
        (line) => line.textContent === wanted,
      ),
    text,
  );
}

/** Waits until a message of somebody else is there, exactly so. */
export async function hears(guest, text) {
  await guest.until(
    (wanted) =>
      [...document.querySelectorAll('.message:not(.own) .text')].some(
        (line) => line.textContent === wanted,
      ),
    text,
  );
}

/** Each says something that each other hears. */
export async function talk(topic, ...guests) {
  for (const [i, speaker] of guests.entries()) {
    const text = `${topic}, from ${i}`;
    await say(speaker, text);
    for (const guest of guests) if (guest !== speaker) await hears(guest, text);
  }
}

/** The page has complained about nothing but what the test expects. */
export async function isCalm(guest, expected = /^$/) {
  const complaints = (await guest.complaints()).filter((one) => !expected.test(one));
  assert.deepEqual(complaints, [], guest.constructor.name);
}

/** The parts of a link that must not leave a page. */
export function secretsOf(link) {
  const [, text] = new URL(link).hash.split('.');
  const bytes = Buffer.from(text, 'base64url');
  assert.equal(bytes.length, 32);
  return [
    text,
    bytes,
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    bytes.toString('base64'),
  ];
}
