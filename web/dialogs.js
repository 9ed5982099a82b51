/**
 * What opens over the room: the invitation, the verification words, and questions to confirm.
 *
 * Each takes what it shows as arguments and keeps nothing after it has been closed; the link is in the
 * page only while the invitation is open.
 */

import { encode, svgPath } from './qr.js';
import { announce, byId, make, makeSvg } from './view.js';
import { troubleOf } from './words.js';

/** How long a button says that it has done its work. */
const FEEDBACK_MS = 2000;

/** Digits that stand together, so that they can be read out. */
const DIGITS_TOGETHER = 5;

/** Makes the dialogs close by their buttons and by a click beside them. Escape works by itself. */
export function prepareDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => {
      if (isBeside(event, dialog) || event.target.closest('[data-close]')) dialog.close();
    });
  }
  byId('invite').addEventListener('close', () => {
    byId('invite-link').value = '';
    byId('code').replaceChildren();
  });
}

/** Whether a click fell on what is behind a dialog. The keyboard's clicks have no place and do not. */
function isBeside({ target, detail, clientX: x, clientY: y }, dialog) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return target === dialog && detail > 0 && (x < left || x > right || y < top || y > bottom);
}

/** Closes whatever is open: the room has ended. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
}

function open(dialog, first) {
  dialog.showModal();
  first.focus();
  dialog.scrollTop = 0;
}

/** Shows the link of a room in the three ways that it can be passed on. */
export function openInvite(link) {
  byId('invite-link').value = link;
  byId('share').hidden = !navigator.share;
  byId('code').replaceChildren(drawCode(link));
  open(byId('invite'), byId('invite-title'));
}

function drawCode(link) {
  try {
    const { path, side } = svgPath(encode(link));
    return makeSvg(
      'svg',
      { viewBox: `0 0 ${side} ${side}`, 'shape-rendering': 'crispEdges', 'aria-hidden': 'true' },
      makeSvg('rect', { width: side, height: side }),
      makeSvg('path', { d: path }),
    );
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return make('p', 'hint', 'The address of this page is too long for a code.');
  }
}

/**
 * Copies the link, and says on the button that it did.
 *
 * Where the browser refuses the clipboard, the invitation opens with the link selected, to be copied by hand.
 */
export async function copyLink(link, pressed) {
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    if (!byId('invite').open) openInvite(link);
    byId('invite-link').select();
    announce('The browser does not let this page copy. The link is selected: copy it yourself.');
    return;
  }
  const label = pressed.querySelector('span');
  const icon = pressed.querySelector('use');
  label.textContent = 'Copied';
  icon.setAttribute('href', '#i-done');
  announce('The link is copied.');
  setTimeout(() => {
    label.textContent = 'Copy the link';
    icon.setAttribute('href', '#i-copy');
  }, FEEDBACK_MS);
}

/** Hands the link to the system's way of sharing. */
export async function shareLink(link) {
  try {
    await navigator.share({ title: 'A room on Lethewire', url: link });
  } catch (error) {
    // Closing the system's sheet without choosing is no fault.
    if (error.name !== 'AbortError')
      announce('This device could not share the link. Copy it instead.');
  }
}

/** Opens the verification words of what `verification` gives. */
export async function openVerify(verification) {
  byId('words').replaceChildren();
  byId('digits').textContent = '';
  open(byId('verify'), byId('verify-title'));
  await refreshVerify(verification);
}

/** Counts the askings for words, so that a late answer never replaces a newer one. */
let asked = 0;

/** Shows the words anew if the dialog is open: somebody came, went or was checked. */
export async function refreshVerify(verification) {
  if (!byId('verify').open) return;
  asked += 1;
  const asking = asked;
  const problem = byId('verify-problem');
  try {
    const { words, digits } = await verification();
    if (asking !== asked) return;
    byId('words').replaceChildren(...words.map((word) => make('li', '', word)));
    byId('digits').replaceChildren(...groups(digits));
    problem.hidden = true;
  } catch (error) {
    if (asking !== asked) return;
    byId('words').replaceChildren();
    byId('digits').textContent = '';
    problem.textContent = troubleOf(error.code);
    problem.hidden = false;
  }
}

function groups(digits) {
  const found = digits.match(new RegExp(`.{1,${DIGITS_TOGETHER}}`, 'g')) ?? [];
  return found.flatMap((group) => [make('span', '', group), ' ']);
}

/**
 * Asks before something that cannot be taken back.
 *
 * @param {{title: string, text: string, yes: string}} question
 * @returns {Promise<boolean>} whether to do it; closing the question is a no
 */
export function confirm({ title, text, yes }) {
  const dialog = byId('confirm');
  byId('confirm-title').textContent = title;
  byId('confirm-text').textContent = text;
  byId('confirm-yes').textContent = yes;
  return new Promise((resolve) => {
    const answered = new AbortController();
    const { signal } = answered;
    byId('confirm-yes').addEventListener('click', () => dialog.close('yes'), { signal });
    byId('confirm-no').addEventListener('click', () => dialog.close('no'), { signal });
    dialog.addEventListener(
      'close',
      () => {
        answered.abort();
        resolve(dialog.returnValue === 'yes');
      },
      { signal },
    );
    dialog.returnValue = 'no';
    open(dialog, byId('confirm-no'));
  });
}
