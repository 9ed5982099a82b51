/**
 * The page: where the person is, and how they get from one place to the next.
 *
 * The address says it: without a fragment this is the start, with one it is the room of that link, so
 * that loading the page again leads back into the room. The fragment is the key of the room. It is
 * read here, handed to the SDK, and goes nowhere else; browsers leave it out of every request.
 *
 * Kept in sessionStorage, beside the theme: the owner's secret of the room that this tab is in. Without
 * it, a reload would leave a room that nobody can lock or close any more; it cannot read a message, and
 * what could take it from there could take the link from the address as well. It is removed when the
 * owner leaves or the room ends, and the browser removes it with the tab.
 */

import { Chat } from './chat.js';
import { confirm, prepareDialogs } from './dialogs.js';
import { createRoom, isSupported, joinRoom, parseLink } from './sdk/index.js';
import { pageUrl, prepareStart, resetStart } from './start.js';
import { Stay } from './stay.js';
import { byId, openPanel, showScreen } from './view.js';
import { endingOf } from './words.js';

const OWNER_KEY = 'owner';

/** The stay in a room, or null at the start. */
let stay = null;
/** Counts changes of place, so that what was begun for an earlier one is dropped when it is done. */
let place = 0;

const chat = new Chat(
  (text) => stay.send(text),
  (unread) => {
    document.title = titleOf(unread);
  },
);

function titleOf(unread = 0) {
  const name = stay ? 'Room · Lethewire' : 'Lethewire';
  return unread > 0 ? `(${unread}) ${name}` : name;
}

/** Goes where the address says. */
async function goByAddress({ keepLog = false } = {}) {
  if (location.hash.length <= 1) {
    showStart();
    return;
  }
  const link = pageUrl() + location.hash;
  try {
    parseLink(link);
  } catch (error) {
    showStart({ ...endingOf('bad_link'), text: error.message });
    return;
  }
  await enter(() => joinRoom(link, { relay: location.origin, ownerSecret: ownerSecretOf(link) }), {
    keepLog,
  });
}

/** Makes a room and goes into it. */
async function create() {
  await enter(() => createRoom({ relay: location.origin, app: pageUrl() }), { made: true });
}

/** Leaves where we are, and goes into the room that `open` gives. */
async function enter(open, { made = false, keepLog = false } = {}) {
  const here = leavePlace({ keepLog });
  showScreen('entering');
  byId('entering-title').focus();
  let room;
  try {
    room = await open();
  } catch (error) {
    if (here === place) fail(error.code);
    return;
  }
  if (here !== place) {
    room.leave();
    return;
  }
  if (made) {
    history.pushState(null, '', new URL(room.link).hash);
    keepOwnerSecret(room);
  }
  stay = new Stay(room, chat, { onFailure: fail, onOver: forgetOwnerSecret });
  document.title = titleOf();
}

/** Ends what was here, and gives the number of the new place. */
function leavePlace({ keepLog = false } = {}) {
  stay?.end();
  stay = null;
  if (!keepLog) chat.clear();
  place += 1;
  return place;
}

/** The room could not be entered. The address keeps the link, so that trying again is possible. */
function fail(reason) {
  showStart(endingOf(reason));
}

/** Shows the start, with what went wrong if something did. */
function showStart(problem = null) {
  leavePlace();
  resetStart(problem);
  showScreen('start');
  document.title = titleOf();
}

/** Back to the start, with the link out of the address. */
function goToStart() {
  forgetOwnerSecret();
  history.replaceState(null, '', pageUrl());
  showStart();
  byId('start-title').focus();
}

/** Leaves the room; whoever would lose the power over it is asked first. */
async function leave() {
  const sure =
    !stay.owns ||
    (await confirm({
      title: 'Leave your room?',
      text: 'The others can stay, and the link still works. But only this tab can lock or close the room, and it forgets how when you leave.',
      yes: 'Leave',
    }));
  if (sure) goToStart();
}

/** Goes to the room of a link that was pasted. */
function follow(hash) {
  history.pushState(null, '', hash);
  goByAddress();
}

function keepOwnerSecret(room) {
  const { owner } = parseLink(room.link);
  try {
    sessionStorage.setItem(
      OWNER_KEY,
      JSON.stringify({ owner: [...owner], secret: room.ownerSecret }),
    );
  } catch {
    // Storage is switched off in this browser: then a reload loses the owner's power.
  }
}

function ownerSecretOf(link) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(OWNER_KEY));
    return kept && String(kept.owner) === String(parseLink(link).owner) ? kept.secret : undefined;
  } catch {
    return undefined;
  }
}

function forgetOwnerSecret() {
  try {
    sessionStorage.removeItem(OWNER_KEY);
  } catch {
    // It was never kept.
  }
}

const onClick = (id, act) =>
  byId(id).addEventListener('click', ({ currentTarget }) => act(currentTarget));

function listen() {
  onClick('create', create);
  onClick('problem-retry', () => goByAddress());
  onClick('entering-cancel', goToStart);
  onClick('open-invite', () => stay.invite());
  onClick('alone-code', () => stay.invite());
  onClick('alone-copy', (pressed) => stay.copy(pressed));
  onClick('copy', (pressed) => stay.copy(pressed));
  onClick('share', () => stay.share());
  onClick('open-verify', () => stay.verify());
  onClick('lock', () => stay.turnLock());
  onClick('close-room', () => stay.close());
  onClick('leave', leave);
  onClick('ended-retry', () => goByAddress({ keepLog: true }));
  onClick('ended-start', goToStart);
  onClick('toggle-panel', () => {
    openPanel(true);
    byId('people-title').focus();
  });
  onClick('close-panel', () => {
    openPanel(false);
    byId('toggle-panel').focus();
  });
  addEventListener('popstate', () => {
    if (!stay || stay.link !== pageUrl() + location.hash) goByAddress();
  });
  // A page that comes back from the browser's cache has lost its connection and must not reuse its keys.
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted) location.reload();
  });
}

prepareDialogs();
prepareStart(follow);
listen();
if (!isSecureContext) fail('insecure_page');
else if (!(await isSupported())) fail('unsupported_browser');
else goByAddress();
