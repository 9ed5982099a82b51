/**
 * A piece of network between a member and the relay, which a test can cut and mend.
 */

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Cable {
  /** @type {Set<import('node:net').Socket>} */
  #sockets = new Set();
  /** @type {Set<import('node:net').Socket>} */
  #frozen = new Set();
  #isCut = false;
  #server;
  url = '';

  /** @param {string} target */
  constructor(target) {
    const { port, hostname } = new URL(target);
    this.#server = createServer((near) => {
      if (this.#isCut) return near.destroy();
      const far = connect(Number(port), hostname);
      for (const [socket, other] of /** @type {const} */ ([
        [near, far],
        [far, near],
      ])) {
        this.#sockets.add(socket);
        socket.pipe(other);
        socket.on('error', () => other.destroy());
        socket.on('close', () => {
          this.#sockets.delete(socket);
          if (!this.#frozen.has(socket)) other.destroy();
        });
      }
    });
  }

  /**
   * @param {import('node:test').TestContext} test Whose end is the cable's.
   * @param {string} target
   */
  static async start(test, target) {
    const cable = new Cable(target);
    cable.#server.listen(0, '127.0.0.1');
    await once(cable.#server, 'listening');
    test.after(() => {
      cable.cut();
      cable.#server.close();
    });
    const { port } = /** @type {import('node:net').AddressInfo} */ (cable.#server.address());
    cable.url = `http://127.0.0.1:${port}`;
    return cable;
  }

  /** Breaks what is connected and lets nothing through. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Lets things through again. */
  mend() {
    this.#isCut = false;
  }

  /**
   * Makes the present connections dead without a word, as when a cable is pulled out behind the next
   * switch: nothing comes through, not even an end. New ones are not concerned.
   */
  freeze() {
    for (const socket of this.#sockets) {
      this.#frozen.add(socket);
      socket.pause();
    }
  }
}
