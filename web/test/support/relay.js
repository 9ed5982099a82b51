/** A real relay for a test: the binary, on a port that the system chose, ended with the test. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BINARY =
  process.env.LETHEWIRE_BIN ??
  fileURLToPath(new URL('../../../target/release/lethewire', import.meta.url));

/** Longest a relay may take to say where it listens. */
const START_MS = 20_000;

/**
 * Settings that differ from a fresh machine's: everything here comes from one address.
 * No name of the machine's own environment reaches the relay.
 */
const SETTINGS = {
  HOST: '127.0.0.1',
  OPS_LISTEN: '',
  LOG_FORMAT: 'json',
  MAX_CONNS_PER_IP: '1000',
  MAX_ROOM_CREATES_PER_IP_PER_MIN: '1000',
  MAX_HTTP_REQUESTS_PER_IP_PER_MIN: '10000',
  MAX_TOKENS_PER_IP_PER_MIN: '10000',
  MAX_FAILED_ADMISSIONS_PER_IP_PER_MIN: '1000',
  MAX_FAULTS_PER_IP: '1000',
};

export class Relay {
  #process;
  #settings;

  /** Starts a relay; `port` 0 is a free one. */
  static async start({ port = 0, settings = {} } = {}) {
    if (!existsSync(BINARY)) {
      throw new Error(`no relay at ${BINARY}: run "cargo build --release", or set LETHEWIRE_BIN`);
    }
    const relay = new Relay();
    relay.#settings = settings;
    await relay.#run(port);
    return relay;
  }

  async #run(port) {
    const env = { PATH: process.env.PATH, ...SETTINGS, ...this.#settings, PORT: String(port) };
    const child = spawn(BINARY, ['serve'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    const lines = [];
    this.port = await new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`the relay did not say where it listens:\n${lines.join('\n')}`)),
        START_MS,
      );
      const listen = (line) => {
        lines.push(line);
        const found = line.match(/127\.0\.0\.1:(\d+)/);
        if (!found) return;
        clearTimeout(late);
        resolve(Number(found[1]));
      };
      for (const stream of [child.stdout, child.stderr])
        createInterface({ input: stream }).on('line', listen);
      child.once('error', reject);
      child.once('exit', (code) =>
        reject(new Error(`the relay ended at once (${code}):\n${lines.join('\n')}`)),
      );
    });
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** Ends the relay as a power cut would, and waits until it is gone. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** Starts it again where it was. It remembers nothing. */
  async restart() {
    await this.#run(this.port);
  }

  async stop() {
    await this.#end('SIGKILL');
  }

  async #end(signal) {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }
}
