// What an owner may do, done by a backend: it joins with a token of capability `o` and says so.
//
//   node owner.mjs WS_URL ROOM close|lock|unlock
//   node owner.mjs WS_URL ROOM kick MEMBER
//
// Node 22 or newer, no dependencies; Node 20.10 with --experimental-websocket. Settings as in mint.mjs.

import { pathToFileURL } from 'node:url';

import { mint, settings } from './mint.mjs';

/**
 * Does one operation in a room that somebody is or was in. Settles when the relay has done it, and
 * rejects with what the relay said otherwise: the code of an `error`, or the name of a close.
 */
export function rule(url, common, { room, op, member }) {
  // Without `r` it hears nothing of what is said. Others see a member come and go.
  const token = mint(common, { room, cap: 'o' });
  const socket = new WebSocket(url, ['lethewire.v1', `lethewire.bearer.${token}`]);
  const tell = (frame) => socket.send(JSON.stringify(frame));
  return new Promise((resolve, reject) => {
    let refused;
    let done = false;
    const on = {
      welcome: () => {
        tell({ type: 'owner', op, member });
        // Frames are taken in order, so the answer to this one says that the one before is done.
        tell({ type: 'ping', n: 1 });
      },
      error: ({ code }) => (refused = code),
      pong: () => {
        done = !refused;
        tell({ type: 'leave' });
      },
    };
    socket.addEventListener('message', ({ data }) => {
      const frame = JSON.parse(data);
      on[frame.type]?.(frame);
    });
    socket.addEventListener('close', ({ reason }) => {
      // Whoever closes a room is in it, too.
      if (done || (op === 'close' && reason === 'room_closed')) resolve();
      else reject(new Error(refused ?? (reason || 'the relay cannot be reached')));
    });
  });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [url, room, op, member] = process.argv.slice(2);
  try {
    await rule(url, settings(), { room, op, member });
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
