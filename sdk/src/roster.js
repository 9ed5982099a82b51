/**
 * Who else is in the room, as the relay says, and who of them has proven it.
 */

/** @typedef {{ id: string, verified: boolean }} Member */

/** Own member ids of connections that the relay may not yet have given up. */
const FORMER_MAX = 8;

/** The other members. */
export class Roster {
  /** @type {Map<string, Member>} */
  members = new Map();
  /** @type {string[]} */
  #selves = [];

  /**
   * A new connection: everybody has to prove themselves anew.
   *
   * @param {string} self
   * @param {string[]} present
   * @returns {{ joined: string[], left: string[] }} What has changed since the last one.
   */
  enter(self, present) {
    this.#selves = [self, ...this.#selves].slice(0, FORMER_MAX);
    this.unverify();
    return this.correct(present);
  }

  /**
   * The relay says anew who is there.
   *
   * @param {string[]} present
   * @returns {{ joined: string[], left: string[] }} What has changed.
   */
  correct(present) {
    const others = present.filter((id) => !this.isOwn(id));
    const left = [...this.members.keys()].filter((id) => !others.includes(id));
    const joined = others.filter((id) => !this.members.has(id));
    for (const id of left) this.members.delete(id);
    for (const id of joined) this.members.set(id, { id, verified: false });
    return { joined, left };
  }

  /**
   * @param {string} id
   * @returns {boolean} Whether this is us, or was.
   */
  isOwn(id) {
    return this.#selves.includes(id);
  }

  /** @param {string} id */
  join(id) {
    this.members.set(id, { id, verified: false });
  }

  /**
   * @param {string} id
   * @returns {boolean} Whether it was there.
   */
  leave(id) {
    return this.members.delete(id);
  }

  /** @param {string} id */
  verify(id) {
    const member = this.members.get(id);
    if (member) member.verified = true;
  }

  /** The connection is gone: nobody can be told from nobody. */
  unverify() {
    for (const member of this.members.values()) member.verified = false;
  }
}
