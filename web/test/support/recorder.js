/**
 * A wire with an ear: passes bytes on to the relay and keeps what the browser's side has sent.
 *
 * This is what really leaves a browser, whatever its developer tools show. The frames of a WebSocket
 * are masked on the way, so they are unmasked here before anybody searches them.
 */

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Recorder {
  #server;
  #connections = [];
  #sockets = new Set();

  /** Listens on a free port, and passes on to the relay at `port`. */
  static async start(port) {
    const recorder = new Recorder();
    recorder.#server = createServer((browser) =>
      recorder.#join(browser, connect(port, '127.0.0.1')),
    );
    recorder.#server.listen(0, '127.0.0.1');
    await once(recorder.#server, 'listening');
    return recorder;
  }

  #join(browser, relay) {
    const sent = [];
    this.#connections.push(sent);
    browser.on('data', (bytes) => sent.push(bytes));
    browser.pipe(relay).pipe(browser);
    for (const socket of [browser, relay]) {
      this.#sockets.add(socket);
      // Either side may end without a goodbye; the other one is then ended too.
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        browser.destroy();
        relay.destroy();
      });
    }
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}/`;
  }

  /**
   * Everything that was sent so far.
   *
   * @returns {{requests: string[], http: Buffer, frames: Buffer[]}} the first lines of requests, the
   *   bytes of HTTP, the unmasked payloads of WebSocket frames
   */
  sent() {
    const requests = [];
    const http = [];
    const frames = [];
    for (const chunks of this.#connections) {
      const bytes = Buffer.concat(chunks);
      const upgrade = bytes.indexOf('GET /v1/ws ');
      const end = upgrade < 0 ? bytes.length : bytes.indexOf('\r\n\r\n', upgrade) + 4;
      http.push(bytes.subarray(0, end));
      requests.push(
        ...(bytes
          .subarray(0, end)
          .toString('latin1')
          .match(/^[A-Z]+ \/\S* HTTP\/1\.1$/gm) ?? []),
      );
      frames.push(...unmask(bytes.subarray(end)));
    }
    return { requests, http: Buffer.concat(http), frames };
  }

  /** Cuts every connection that there is; new ones are possible at once. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** The payloads of the complete masked frames in what a client has sent. */
function unmask(bytes) {
  const frames = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    let length = bytes[at + 1] & 0x7f;
    let head = 2;
    if (length === 126) {
      length = bytes.readUInt16BE(at + 2);
      head = 4;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at + 2));
      head = 10;
    }
    const start = at + head + 4;
    if (start + length > bytes.length) break;
    const mask = bytes.subarray(at + head, start);
    frames.push(
      Buffer.from(bytes.subarray(start, start + length).map((byte, i) => byte ^ mask[i % 4])),
    );
    at = start + length;
  }
  return frames;
}
