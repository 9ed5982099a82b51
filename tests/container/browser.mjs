/**
 * Two members in Chromium, in a page of another origin, with the SDK: through Caddy to the relays.
 *
 * usage: node browser.mjs RELAY PAGE      as in https://localhost https://chat.example.org
 *
 * The page is made up here, for its origin; the SDK's files are those of sdk/src.
 */

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { chromium } = require('playwright-core');

const SDK = new URL('../../sdk/src/', import.meta.url);
/** Longest it may take, in milliseconds; the machine may be busy. */
const PATIENCE_MS = 30_000;

const [relay, page] = process.argv.slice(2);

/** Answers for the page's origin. */
async function serve(route) {
  const { pathname } = new URL(route.request().url());
  const name = pathname.match(/^\/sdk\/([a-z]+\.js)$/)?.[1];
  if (name) {
    const body = await readFile(new URL(name, SDK));
    await route.fulfill({ contentType: 'text/javascript', body });
  } else {
    await route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>Chat</title>' });
  }
}

/** Runs in the page. */
async function talk({ relay, app }) {
  const { createRoom, joinRoom } = await import('/sdk/index.js');
  const room = await createRoom({ relay, app });
  const guest = await joinRoom(room.link, { relay });
  await Promise.all([room.ready, guest.ready]);
  const heard = new Promise((resolve) => {
    guest.addEventListener('message', ({ detail }) => resolve(detail.data), { once: true });
  });
  const seq = await room.send('through Caddy', { ack: true });
  const data = await heard;
  await guest.leave();
  await room.close();
  return { seq, data };
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
  args: [
    ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
    // It would ask a person whether a page may talk to this machine, and here is nobody.
    '--disable-features=LocalNetworkAccessChecks',
    ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
  ],
});
try {
  // Chromium knows nothing of Caddy's own authority.
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  await context.route(`${page}/**`, serve);
  const tab = await context.newPage();
  // What it says when it fails is worth knowing, and nothing else.
  const said = [];
  tab.on('console', (message) => said.push(message.text()));
  tab.on('websocket', (socket) => said.push(socket.url()));
  tab.on('response', (answer) => said.push(`${answer.status()} ${answer.url()}`));
  await tab.goto(`${page}/`);
  const late = setTimeout(() => tab.close(), PATIENCE_MS);
  const { seq, data } = await tab.evaluate(talk, { relay, app: `${page}/` }).catch((error) => {
    throw new Error(said.join('\n'), { cause: error });
  });
  clearTimeout(late);
  if (data !== 'through Caddy' || !(seq > 0)) throw new Error(`heard ${data} as number ${seq}`);
} finally {
  await browser.close();
}
