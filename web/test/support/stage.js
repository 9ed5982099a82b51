/** What every file of browser tests stands on: one relay, both browsers, and guests that go home. */

import { after, afterEach, before } from 'node:test';

import { Browsers } from './guests.js';
import { Relay } from './relay.js';

/**
 * Prepares the stage before the tests of a file, and clears it after each and at the end.
 *
 * @returns {{relay: Relay, guest: (kind: 'chromium' | 'firefox', options?: object) => Promise<object>}}
 *   `relay` is there once the tests run; `options` are those of Playwright's contexts
 */
export function prepareStage() {
  const stage = { relay: null, guest };
  let browsers = null;
  let guests = [];

  before(async () => {
    stage.relay = await Relay.start();
    browsers = await Browsers.start();
  });

  afterEach(async () => {
    const left = guests;
    guests = [];
    await Promise.all(left.map((one) => one.leave()));
  });

  after(async () => {
    await Promise.allSettled([browsers?.stop(), stage.relay?.stop()]);
  });

  async function guest(kind, options) {
    const one = await browsers.guest(kind, options);
    guests.push(one);
    return one;
  }

  return stage;
}
