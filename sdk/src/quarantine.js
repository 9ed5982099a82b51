/**
 * Frames that cannot be judged yet: their sender's HELLO, or its proof to be there, has not come.
 *
 * They wait for a short time and in a bounded space, each member in a part of it, so that one
 * member cannot push out what others wait for.
 */

/** @typedef {import('./wire.js').Delivery} Delivery */

/** Bounds of what waits. */
export const QUARANTINE = Object.freeze({
  frames: 256,
  bytes: 8 * 1024 * 1024,
  framesPerMember: 64,
  bytesPerMember: 2 * 1024 * 1024,
  /** Several round trips; longer than any honest HELLO takes. */
  waitMs: 10_000,
});

/** Holds deliveries, in the order of their coming. */
export class Quarantine {
  /** @type {{ delivery: Delivery, until: number }[]} */
  #held = [];
  #limits;

  /** @param {typeof QUARANTINE} [limits] */
  constructor(limits = QUARANTINE) {
    this.#limits = limits;
  }

  /**
   * @param {Delivery} delivery
   * @param {number} now In milliseconds.
   * @returns {boolean} Whether there was room for it.
   */
  hold(delivery, now) {
    const { frames, bytes, framesPerMember, bytesPerMember, waitMs } = this.#limits;
    const all = measure(this.#held);
    const own = measure(this.#held.filter((entry) => entry.delivery.from === delivery.from));
    const length = delivery.payload.length;
    if (all.frames >= frames || all.bytes + length > bytes) return false;
    if (own.frames >= framesPerMember || own.bytes + length > bytesPerMember) return false;
    this.#held.push({ delivery, until: now + waitMs });
    return true;
  }

  /**
   * Takes out what a member has here.
   *
   * @param {string} member
   * @returns {Delivery[]} In the order of their coming.
   */
  release(member) {
    const released = this.#held.filter(({ delivery }) => delivery.from === member);
    this.#held = this.#held.filter(({ delivery }) => delivery.from !== member);
    return released.map(({ delivery }) => delivery);
  }

  /**
   * Takes out what has waited for too long.
   *
   * @param {number} now In milliseconds.
   * @returns {Map<string, number>} Frames per member.
   */
  expire(now) {
    /** @type {Map<string, number>} */
    const counts = new Map();
    for (const { delivery, until } of this.#held) {
      if (until <= now) counts.set(delivery.from, (counts.get(delivery.from) ?? 0) + 1);
    }
    this.#held = this.#held.filter(({ until }) => until > now);
    return counts;
  }

  /** When the next frame has waited for too long, in milliseconds; `null` if nothing waits. */
  get nextExpiry() {
    return this.#held[0]?.until ?? null;
  }
}

/** @param {{ delivery: Delivery }[]} held */
function measure(held) {
  const bytes = held.reduce((sum, { delivery }) => sum + delivery.payload.length, 0);
  return { frames: held.length, bytes };
}
