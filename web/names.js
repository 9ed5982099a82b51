/**
 * Friendly names for members, made from their ids in each browser and sent nowhere.
 *
 * A name helps the eye to follow a conversation; it proves nothing, since an id is random and new
 * with every connection. What proves that nobody sits in between are the verification words.
 */

/** A list of words, from a text. */
const wordsOf = (text) => text.trim().split(/\s+/);

const FIRST = wordsOf(`
  Amber Azure Birch Bold Brave Bright Brisk Calm Candid Cedar Chalk Clear Clever Cobalt Copper
  Coral Cosy Crisp Dapper Dawn Deft Eager Early Fair Fern Frank Gentle Glad Golden Grand Hazel
  Honest Indigo Ivory Jade Jolly Keen Kind Lively Lucky Maple Mellow Merry Mild Misty Neat
  Nimble Noble Olive Patient Pearl Plucky Polite Quick Quiet Rosy Silver Steady Sunny Swift
  Tidy Velvet Warm Witty
`);

const SECOND = wordsOf(`
  Badger Beaver Bison Bunting Cricket Crane Curlew Dolphin Dormouse Dove Eagle Egret Falcon
  Ferret Finch Fox Gecko Gull Hare Hedgehog Heron Ibex Ibis Jay Kestrel Kite Koala Lark Lemur
  Linnet Lynx Magpie Marten Merlin Mole Moose Moth Newt Octopus Osprey Otter Owl Panda Penguin
  Petrel Plover Puffin Quail Rabbit Raven Robin Salmon Seal Sparrow Squirrel Starling Stork
  Swallow Swan Tern Thrush Turtle Walrus Wren
`);

/** How many colours style.css has for members (`.tint-0` and so on). */
export const TINTS = 8;

/** A number from a text, spread well enough for names (FNV-1a, 32 bits, with a final mix). */
function spread(text) {
  let hash = 0x811c9dc5;
  for (const char of text) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * The name that every browser finds for an id.
 *
 * @param {string} id a member's id as the SDK gives it
 * @returns {{name: string, initials: string, tint: number}} `tint` is below `TINTS`
 */
export function nameOf(id) {
  const number = spread(id);
  const first = FIRST[number % FIRST.length];
  const second = SECOND[(number >>> 8) % SECOND.length];
  return {
    name: `${first} ${second}`,
    initials: first[0] + second[0],
    tint: (number >>> 16) % TINTS,
  };
}

/** Names of one room: as `nameOf`, but no two members that are in it share a name. */
export class Names {
  #known = new Map();
  #taken = new Set();

  /**
   * @param {string} id
   * @returns {{name: string, initials: string, tint: number}} the same for the same id, until it is forgotten
   */
  of(id) {
    let known = this.#known.get(id);
    if (!known) {
      known = nameOf(id);
      const plain = known.name;
      for (let n = 2; this.#taken.has(known.name); n++) known.name = `${plain} ${n}`;
      this.#taken.add(known.name);
      this.#known.set(id, known);
    }
    return known;
  }

  /** A member left: its name is free again. */
  forget(id) {
    this.#taken.delete(this.#known.get(id)?.name);
    this.#known.delete(id);
  }
}
