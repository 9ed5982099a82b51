/**
 * The start: what went wrong if something did, the field for a link, and who runs this relay.
 *
 * Knows which texts are links of this page; going there is app.js's business.
 */

import { parseLink } from './sdk/index.js';
import { byId, make } from './view.js';

/** This page's address without the fragment: what every link of ours begins with. */
export const pageUrl = () => location.origin + location.pathname;

/**
 * Prepares the field for a link.
 *
 * @param {(hash: string) => void} follow gets the fragment of a good link
 */
export function prepareStart(follow) {
  const field = byId('link');
  byId('join').addEventListener('submit', (event) => {
    event.preventDefault();
    try {
      follow(fragmentOf(field.value.trim()));
    } catch (error) {
      byId('link-error').textContent = error.message;
      field.setAttribute('aria-invalid', 'true');
      field.focus();
    }
  });
  field.addEventListener('input', clearError);
}

/** Empties the start, and says what went wrong if something did. */
export function resetStart(problem) {
  byId('problem').hidden = !problem;
  byId('problem-title').textContent = problem?.title ?? '';
  byId('problem-text').textContent = problem?.text ?? '';
  byId('problem-retry').hidden = !problem?.retry;
  byId('link').value = '';
  clearError();
  if (!introduced) introduceRelay();
}

function clearError() {
  byId('link-error').textContent = '';
  byId('link').removeAttribute('aria-invalid');
}

/** The fragment of a whole link of this page, or of its end alone. Throws what to tell the person. */
function fragmentOf(text) {
  if (!text) throw new Error('Paste the link first.');
  if (/^#?\d+\./.test(text)) {
    const hash = `#${text.replace('#', '')}`;
    parseLink(pageUrl() + hash);
    return hash;
  }
  parseLink(text);
  const { origin, host, hash } = new URL(text);
  if (origin !== location.origin) {
    throw new Error(
      `This link belongs to another site, ${host}. Open it there: put it into the address bar.`,
    );
  }
  return hash;
}

let introduced = false;

/** Says who runs this relay, as far as the relay says so. */
async function introduceRelay() {
  introduced = true;
  let info;
  try {
    const answer = await fetch(new URL('v1/info', pageUrl()));
    info = await answer.json();
  } catch {
    return; // The page works without; whoever makes a room is told that the relay is away.
  }
  const { operator, abuse_contact: contact, source } = info;
  const lines = [];
  if (operator) lines.push(make('li', '', `This relay is run by ${operator}`));
  if (contact) lines.push(make('li', '', 'Report abuse: ', linked(contact, contact)));
  if (source) lines.push(make('li', '', linked(source, 'Source code')));
  byId('house').replaceChildren(...lines);
  byId('house').hidden = lines.length === 0;
}

/** A web or mail address as a link, anything else as text. */
function linked(address, text) {
  const isMail = /^[^\s@:]+@[^\s@:]+$/.test(address);
  if (!isMail && !/^https:\/\//.test(address)) return text;
  const link = make('a', '', text);
  link.href = isMail ? `mailto:${address}` : address;
  link.rel = 'noreferrer noopener';
  link.target = '_blank';
  return link;
}
