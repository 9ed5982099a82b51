/**
 * HELLO: how members tell each other their keys and prove that they are there now.
 *
 * Layout only; the rules are in `session`.
 *
 * ```
 * 0    32  Ed25519 public key, which signs this very frame
 * 32   32  X25519 public key
 * 64   16  challenge: who answers it is there now
 * 80   16  the receiver's challenge that this answers; zeros: none
 * 96    4  generation of the sender's keys: 0, then +1 with each new sid
 * 100   6  since: frames of this sid below it were sealed before the receiver came
 * 106   6  sent: numbered broadcasts of this sender before it knew of the receiver
 * ```
 */

import { concat, random, readU48, view, writeU48 } from './bytes.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/**
 * @typedef {object} Hello
 * @property {Bytes} signPublic
 * @property {Bytes} agreePublic
 * @property {Bytes} challenge
 * @property {Bytes | null} answer The challenge that this answers.
 * @property {number} generation
 * @property {number} since
 * @property {number} sent
 */

const LENGTH = 112;
const CHALLENGE_LENGTH = 16;

/** @returns {Bytes} A fresh challenge. */
export function createChallenge() {
  return random(CHALLENGE_LENGTH);
}

/**
 * @param {Hello} hello
 * @returns {Bytes}
 */
export function encodeHello(hello) {
  const counts = new Uint8Array(16);
  const fields = view(counts);
  fields.setUint32(0, hello.generation);
  writeU48(fields, 4, hello.since);
  writeU48(fields, 10, hello.sent);
  const answer = hello.answer ?? new Uint8Array(CHALLENGE_LENGTH);
  return concat(hello.signPublic, hello.agreePublic, hello.challenge, answer, counts);
}

/**
 * @param {Bytes} body
 * @returns {Hello | null}
 */
export function parseHello(body) {
  if (body.length !== LENGTH) return null;
  const fields = view(body);
  const challenge = body.slice(64, 80);
  const answer = body.slice(80, 96);
  // The zero challenge means "none"; nobody may ask with it.
  if (challenge.every((byte) => byte === 0)) return null;
  return {
    signPublic: body.slice(0, 32),
    agreePublic: body.slice(32, 64),
    challenge,
    answer: answer.every((byte) => byte === 0) ? null : answer,
    generation: fields.getUint32(96),
    since: readU48(fields, 100),
    sent: readU48(fields, 106),
  };
}
