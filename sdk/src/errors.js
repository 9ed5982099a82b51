/**
 * What can go wrong, by name and in plain words.
 *
 * This module owns every code that the SDK hands to an application and its text. No text contains
 * data: neither identifiers nor secrets can get into a log through an error.
 */

/** @type {Readonly<Record<string, string>>} */
const TEXTS = Object.freeze({
  // Of this side.
  bad_link: 'This is not the link of a room.',
  bad_argument: 'The call cannot be meant like this.',
  unsupported_browser:
    'This browser is too old for encrypted rooms: it lacks Ed25519, X25519 or WebSocket. Please update it.',
  too_large: 'The message is too large for this room.',
  queue_full: 'Too many messages are waiting to be sent. Try again in a moment.',
  closed: 'The room is closed here.',
  not_open: 'The room is not connected at the moment.',
  unconfirmed:
    'The connection broke before the relay confirmed the message. It may or may not have been delivered.',
  no_such_member: 'This member is not in the room any more.',
  not_owner: "Only the room's owner can do this.",
  network: 'The relay cannot be reached.',
  bad_answer: 'The relay gave an answer that makes no sense. Is the address right?',
  undecryptable: 'A message could not be opened: it is damaged or forged.',
  replayed: 'A message was refused because it had been seen before.',
  reordered: 'A message was refused because it came out of order.',
  messages_lost: 'Messages of a member did not arrive.',
  never_verified: 'Messages were dropped because their sender did not prove its identity.',
  quarantine_full: 'Messages of an unverified member were dropped because too many were waiting.',
  identity_changed: 'A member tried to change its keys; that was refused.',
  too_many_hellos: 'A member announced itself too often; that was refused.',
  inbox_full: 'Messages were dropped because this device is too slow for the room.',
  iterator_overflow: 'Messages were dropped because a loop over the room was too slow.',
  unavailable:
    'The relay cannot put messages in order at the moment. They are sent as soon as it can.',
  // What the relay says before the connection stands.
  admission_failed: 'The relay does not accept the link for this room.',
  origin_denied: 'The relay does not accept this page.',
  quota_exceeded: 'Too many requests from your network. Waiting before the next try.',
  temporary_reduced_capacity: 'The relay takes no new connections at the moment.',
  rooms_not_offered: 'This is no relay, or it does not offer open rooms. Is the address right?',
  // Close codes.
  left: 'You have left the room.',
  going_away: 'The connection ended.',
  protocol: 'The relay ended the connection: it was not understood.',
  unsupported: 'The relay ended the connection: it was not understood.',
  bad_utf8: 'The relay ended the connection: it was not understood.',
  bug: 'The relay ended the connection because of a fault of its own.',
  restart: 'The relay restarts.',
  overload: 'The relay is overloaded.',
  bad_frame: 'The relay ended the connection: it was not understood.',
  unsupported_version: 'The relay speaks another version. Please reload the page.',
  room_closed: 'The room is closed.',
  room_locked: 'The room is locked: it takes no new members.',
  kicked: 'You were removed from the room.',
  not_permitted: 'You may not do this in this room.',
  padding_violation: 'A message had a size that this room does not want.',
  blocked: 'The relay has blocked this.',
  token_missing: 'The relay did not accept the admission to the room.',
  token_invalid: 'The relay did not accept the admission to the room.',
  token_expired: 'The admission to the room came too late. Is the clock of this device right?',
  session_expired: 'The time of the session is over.',
  token_used: 'The relay did not accept the admission to the room.',
  slow_consumer: 'The connection was too slow for the room.',
  rate_limited: 'Too many messages in a short time.',
  idle: 'The connection was idle for too long.',
  heartbeat_lost: 'The connection was lost.',
  room_full: 'The room is full.',
  order_lost: 'The relay lost the order of messages.',
});

/** An error with a code for programs and a message for people. */
export class LethewireError extends Error {
  /**
   * @param {string} code A name from the README's list.
   * @param {string} [message] In plain words; the code's text by default. Never contains data.
   */
  constructor(code, message) {
    super(message ?? textOf(code));
    this.name = 'LethewireError';
    /** A name from the README's list. */
    this.code = code;
  }
}

/**
 * The text of a code, for people.
 *
 * @param {string} code
 * @returns {string}
 */
export function textOf(code) {
  return (Object.hasOwn(TEXTS, code) && TEXTS[code]) || 'Something went wrong with the room.';
}
