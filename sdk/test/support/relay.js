/**
 * A real relay, started on a free port, and ears to hear what a room tells.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { createRoom, joinRoom } from '../../src/index.js';

/** @typedef {import('../../src/index.js').Room} Room */
/** @typedef {import('../../src/events.js').RoomEvents} RoomEvents */

const BINARY =
  process.env.LETHEWIRE_BIN ??
  fileURLToPath(new URL('../../../target/release/lethewire', import.meta.url));

/** A relay process; can be stopped and started again at the same address. */
export class Relay {
  /** @type {import('node:child_process').ChildProcess} */
  #process;
  #environment;
  url = '';
  /** @type {Room[]} */
  #rooms = [];

  /** @param {Record<string, string>} environment */
  constructor(environment) {
    this.#environment = environment;
    this.#process = this.#spawn('0', environment);
  }

  /**
   * @param {import('node:test').TestContext} test Whose end is the relay's.
   * @param {Record<string, string>} [environment]
   */
  static async start(test, environment = {}) {
    const relay = new Relay(environment);
    test.after(() => relay.#end());
    await relay.#listening();
    return relay;
  }

  /**
   * Starts it again, where it was.
   *
   * @param {Record<string, string>} [environment]
   */
  async start(environment = {}) {
    const { port } = new URL(this.url);
    this.#process = this.#spawn(port, { ...this.#environment, ...environment });
    await this.#listening();
  }

  /** @param {NodeJS.Signals} [signal] */
  async stop(signal = 'SIGTERM') {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exit = once(this.#process, 'exit');
    this.#process.kill(signal);
    await exit;
  }

  /** @param {Parameters<typeof createRoom>[0]['options']} [options] */
  async create(options) {
    const room = await createRoom({ relay: this.url, WebSocket, ...(options && { options }) });
    this.#rooms.push(room);
    return room;
  }

  /**
   * @param {string} link
   * @param {{ ownerSecret?: string, relay?: string }} [how]
   */
  async join(link, how) {
    const room = await joinRoom(link, { WebSocket, ...how });
    this.#rooms.push(room);
    return room;
  }

  /** Two members who have met. */
  async pair() {
    const alice = await this.create();
    const bob = await this.join(alice.link);
    const ears = [new Ear(alice), new Ear(bob)];
    await Promise.all(ears.map((ear) => ear.next('verified')));
    await Promise.all([alice.ready, bob.ready]);
    const [a, b] = ears;
    return { alice, bob, a: /** @type {Ear} */ (a), b: /** @type {Ear} */ (b) };
  }

  async #end() {
    await this.stop('SIGKILL');
    // Without a relay nobody has to be told.
    await Promise.all(this.#rooms.map((room) => room.leave()));
  }

  /**
   * @param {string} port
   * @param {Record<string, string>} environment
   */
  #spawn(port, environment) {
    const { PATH = '' } = process.env;
    const env = { PATH, HOST: '127.0.0.1', PORT: port, OPS_LISTEN: '', ...environment };
    return spawn(BINARY, [], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Reads its output until it says where it is. */
  async #listening() {
    let said = '';
    await new Promise((resolve, reject) => {
      const read = (/** @type {Buffer} */ chunk) => {
        said += chunk;
        const url = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
        if (!url) return;
        this.url = url;
        resolve(undefined);
      };
      this.#process.stdout?.on('data', read);
      this.#process.stderr?.on('data', read);
      this.#process.on('error', () => reject(new Error(`no relay at ${BINARY}: build it first`)));
      this.#process.on('exit', () => reject(new Error(`the relay did not start: ${said}`)));
    });
  }
}

const TYPES = /** @type {const} */ ([
  'message',
  'join',
  'verified',
  'leave',
  'gap',
  'reset',
  'state',
  'room',
  'error',
]);

/** Hears everything that a room tells, in order, from the moment it is made. */
export class Ear {
  /** @type {{ type: keyof RoomEvents, detail: any }[]} */
  heard = [];
  /** What waits is looked for from here on. @type {Map<string, number>} */
  #from = new Map();
  /** @type {(() => void)[]} */
  #waiting = [];

  /** @param {Room} room */
  constructor(room) {
    for (const type of TYPES) {
      room.addEventListener(type, ({ detail }) => {
        this.heard.push({ type, detail });
        for (const wake of this.#waiting.splice(0)) wake();
      });
    }
  }

  /**
   * The next event of a type that has not been asked for yet.
   *
   * @template {keyof RoomEvents} K
   * @param {K} type
   * @param {(detail: RoomEvents[K]) => boolean} [fits] What does not is skipped.
   * @returns {Promise<RoomEvents[K]>}
   */
  async next(type, fits = () => true) {
    for (;;) {
      for (let at = this.#from.get(type) ?? 0; at < this.heard.length; at += 1) {
        const event = this.heard[at];
        this.#from.set(type, at + 1);
        if (event?.type === type && fits(event.detail)) return event.detail;
      }
      await new Promise((resolve) => {
        this.#waiting.push(() => resolve(undefined));
      });
    }
  }

  /** @param {keyof RoomEvents} type */
  all(type) {
    return this.heard.filter((event) => event.type === type).map(({ detail }) => detail);
  }
}
