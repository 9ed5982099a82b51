/**
 * What happened, in plain words, and what to do next.
 *
 * The SDK names its reasons and errors by codes; this is the one place that turns them into sentences
 * for the person in front of the page. Pure: codes in, text out. No sentence contains data.
 */

/**
 * How a stay in a room can end: what to say, and whether trying again may help.
 *
 * @type {Readonly<Record<string, {title: string, text: string, retry: boolean}>>}
 */
const ENDINGS = Object.freeze({
  left: ending('You have left the room', 'To come back, open its link again.', true),
  room_closed: ending(
    'This room is closed',
    'Its owner closed it, or its time was over. The relay keeps nothing of what was said. To go on talking, make a new room and share its link.',
  ),
  room_locked: ending(
    'This room is locked',
    'Its owner lets nobody in at the moment. Ask them to unlock it, then try again.',
    true,
  ),
  room_full: ending(
    'This room is full',
    'It has as many people in it as it takes. Try again when somebody has left.',
    true,
  ),
  kicked: ending(
    'You were removed from the room',
    'Its owner took you out. If you think that was a mistake, ask them.',
  ),
  bad_link: ending(
    'This link does not open a room',
    'A part of it is missing or was changed on the way. Ask for it again and copy it to its very last character.',
  ),
  admission_failed: ending(
    'This link does not open a room here',
    'The room is over, or the link was changed on the way. Ask for it again and copy it to its very last character.',
  ),
  unsupported_browser: ending(
    'This browser cannot join',
    'Rooms need encryption that this browser does not have, or a connection of a kind that it cannot make. Update it, or open the link in a current Firefox, Chrome, Edge or Safari.',
  ),
  insecure_page: ending(
    'This page was not opened securely',
    'Browsers allow encryption only on pages that came over https, or from this very computer. Open the address with https:// in front.',
  ),
  network: ending(
    'The relay cannot be reached',
    'Check that this device is online, then try again.',
    true,
  ),
  heartbeat_lost: ending(
    'The connection was lost',
    'Check that this device is online, then try again.',
    true,
  ),
  going_away: ending(
    'The connection ended',
    'The page was about to close. Try again to go back into the room.',
    true,
  ),
  restart: ending('The relay is restarting', 'That takes a moment. Try again soon.', true),
  overload: ending(
    'The relay is too busy',
    'It takes no more at the moment. Try again in a few minutes.',
    true,
  ),
  temporary_reduced_capacity: ending(
    'The relay is too busy',
    'It takes no new connections at the moment. Try again in a few minutes.',
    true,
  ),
  quota_exceeded: ending(
    'Too many tries',
    'Too much came from your network in a short time. Wait a minute, then try again.',
    true,
  ),
  rate_limited: ending(
    'You were too fast',
    'More was sent than the relay carries for one person. Wait a moment, then try again.',
    true,
  ),
  slow_consumer: ending(
    'Your connection is too slow for this room',
    'More was said than it could bring in, so the relay ended it. Try again, on a better network if there is one.',
    true,
  ),
  idle: ending(
    'You were away for long',
    'The relay ended the connection because nothing happened on it. Try again to go back into the room.',
    true,
  ),
  order_lost: ending(
    'The relay lost its place',
    'It could no longer say in which order messages came. Try again to go back into the room.',
    true,
  ),
  session_expired: ending(
    'Your time in this room is over',
    'The relay sets how long one stay may last. Try again to begin another.',
    true,
  ),
  token_missing: ending(
    'The relay did not let you in',
    'Something went wrong with the admission. Try again.',
    true,
  ),
  token_invalid: ending(
    'The relay did not let you in',
    'The room may be over, or something went wrong with the admission. Try again; if that does not help, ask for a new link.',
    true,
  ),
  token_expired: ending(
    'The relay did not let you in',
    'The admission came too late. Check that the clock of this device is right, then try again.',
    true,
  ),
  token_used: ending(
    'The relay did not let you in',
    'The admission had been used already. Try again.',
    true,
  ),
  not_permitted: ending(
    'That is not allowed in this room',
    'The relay ended the connection because of it. Try again to go back into the room.',
    true,
  ),
  blocked: ending(
    'The relay has blocked this',
    'The people who run the relay have decided so. Ask them if you think that is a mistake.',
  ),
  origin_denied: ending(
    'The relay does not accept this page',
    'It was opened at an address that the relay does not know. Open the link at the address where it was made.',
  ),
  rooms_not_offered: ending(
    'No open rooms here',
    'This relay serves another application, which lets people in by itself.',
  ),
  unsupported_version: ending(
    'This page is out of date',
    'The relay speaks another version than this page. Load the page again.',
    true,
  ),
  bad_answer: ending(
    'That was not a relay',
    'The answer made no sense. Check the address of this page, then try again.',
    true,
  ),
  bug: ending(
    'Something went wrong at the relay',
    'It is not your fault. Try again; if that does not help, tell the people who run it.',
    true,
  ),
  protocol: misunderstanding(),
  unsupported: misunderstanding(),
  bad_utf8: misunderstanding(),
  bad_frame: misunderstanding(),
  padding_violation: misunderstanding(),
  too_large: misunderstanding(),
});

function ending(title, text, retry = false) {
  return Object.freeze({ title, text, retry });
}

function misunderstanding() {
  return ending(
    'Page and relay misunderstood each other',
    'That should not happen. Load the page again; if that does not help, tell the people who run the relay.',
    true,
  );
}

const UNKNOWN_ENDING = ending(
  'The connection ended',
  'The relay gave no reason that this page knows. Try again.',
  true,
);

/** Why the room is being reached for again, in a sentence. What is not here is a lost connection. */
const WAITING = Object.freeze({
  restart: 'The relay is restarting.',
  overload: 'The relay is too busy at the moment.',
  temporary_reduced_capacity: 'The relay is too busy at the moment.',
  quota_exceeded: 'Too much came from your network in a short time.',
  rate_limited: 'You were faster than the relay allows.',
  slow_consumer: 'Your connection was too slow for this room.',
  room_full: 'The room is full.',
  idle: 'Nothing had happened on the connection for long.',
  order_lost: 'The relay lost the order of the messages.',
  network: 'The relay cannot be reached.',
});

/** What went wrong while the room goes on. `''` is said nothing about: it needs no action. */
const TROUBLE = Object.freeze({
  too_large: 'That message is too long for this room.',
  queue_full: 'Too many messages are waiting to be sent. Try again in a moment.',
  closed: 'The room is closed here.',
  not_open: 'The words are here again when the connection is back.',
  unconfirmed: 'The connection broke just then: it may or may not have arrived.',
  not_owner: 'Only the one who made the room can do this.',
  no_such_member: 'That person is not in the room any more.',
  rate_limited: 'You are faster than the relay allows. Wait a moment.',
  not_permitted: 'That is not allowed in this room.',
  padding_violation: 'That arrived, but its size says more about it than this room wants.',
  network: 'The relay cannot be reached.',
  quota_exceeded: 'Too much came from your network in a short time. Wait a minute.',
  temporary_reduced_capacity: 'The relay is too busy at the moment.',
  room_closed: 'The room is closed.',
  undecryptable:
    'A message could not be opened. It was damaged on the way, or somebody tampered with it.',
  replayed: 'An old message was sent a second time by somebody in between, and refused.',
  reordered: 'A message came out of order, and was refused.',
  messages_lost: 'Some messages did not arrive. Ask the others to say it again.',
  never_verified: 'Somebody without the right keys wrote something. It is not shown.',
  quarantine_full: 'Somebody without the right keys wrote a lot. It is not shown.',
  identity_changed: 'Somebody tried to take another person’s place. That was refused.',
  too_many_hellos: 'Somebody introduced themselves again and again. That was refused.',
  inbox_full:
    'This device could not keep up, and some messages were dropped. Ask the others to say it again.',
});

const UNKNOWN_TROUBLE = 'Something went wrong. Try again.';

/**
 * How a stay ended.
 *
 * @param {string} reason a name of the SDK: the reason of a state, or an error's code
 * @returns {{title: string, text: string, retry: boolean}}
 */
export const endingOf = (reason) => lookUp(ENDINGS, reason) ?? UNKNOWN_ENDING;

/** Why we wait for the next try, in one sentence. */
export const waitingOf = (reason) => lookUp(WAITING, reason) ?? 'The connection was lost.';

/** What went wrong while the room goes on, in one sentence or two. */
export const troubleOf = (code) => lookUp(TROUBLE, code) ?? UNKNOWN_TROUBLE;

/** Messages with these numbers will not come. */
export function gapText(from, to) {
  return to > from
    ? `${to - from + 1} messages got lost on the way. Ask the others to say it again.`
    : 'A message got lost on the way. Ask the others to say it again.';
}

/** A room after an interruption: what was said meanwhile is nowhere. */
export const RESET_TEXT =
  'You were away for a moment. What was said meanwhile was not kept: ask the others.';

/** What to do in a room where nobody else is. */
export const ALONE_AS_HOST =
  'Send its link to the people you want to talk to, over a channel that you trust. Whoever has it can come in.';
export const ALONE_AS_GUEST =
  'If you expected somebody, they may have left, or the link was changed on the way. Whoever has the link can come in.';

/** How somebody left. */
export function leaveText(name, why) {
  if (why === 'kicked') return `${name} was removed`;
  if (why === 'lost') return `${name} lost the connection`;
  return `${name} left`;
}

/** Only what is in a table, never what every object has (`constructor`). */
function lookUp(table, name) {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
