/**
 * The conversation: the log of messages and notes, and the field to write in.
 *
 * Knows nothing of rooms or keys: it is told what came and asks `send` to send.
 */

import { announce, button, byId, clock, count, make } from './view.js';

/** Lines that stay on the page; older ones are taken out, nothing else remembers them. */
const LINES_MAX = 1000;
/** Characters in one message. At four bytes each this fits a payload of 16 KiB. */
export const TEXT_MAX = 4000;
/** How many characters before the limit the page begins to count them. */
const TEXT_WARN = 400;
/** Messages of one person within this time stand together under one name. */
const TOGETHER_MS = 120_000;
/** Pixels above the end within which the log follows new messages. */
const END_SLACK = 60;

/** Characters as people count them, near enough: code points. */
const lengthOf = (text) => [...text].length;

export class Chat {
  #send;
  #limit = TEXT_MAX;
  /** The last message, if nothing came after it. */
  #last = null;
  /** The last note, if nothing came after it. */
  #note = null;
  #unread = 0;
  #missed = 0;
  #following = true;
  #onUnread;

  /**
   * @param {(text: string) => Promise<void>} send rejects with an Error whose message may be shown
   * @param {(count: number) => void} onUnread how many messages came while nobody looked
   */
  constructor(send, onUnread) {
    this.#send = send;
    this.#onUnread = onUnread;
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId('text').addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    byId('text').addEventListener('input', () => this.#measure());
    byId('to-end').addEventListener('click', () => this.#toEnd());
    byId('log').addEventListener('scroll', () => {
      this.#following = this.#atEnd();
      if (this.#following) this.#caughtUp();
    });
    // A keyboard on the screen, a longer draft, a phone that is turned: the end stays in sight.
    new ResizeObserver(() => {
      if (this.#following) this.#toEnd();
    }).observe(byId('log'));
    addEventListener('focus', () => this.#looked());
    document.addEventListener('visibilitychange', () => this.#looked());
  }

  /** Empties everything: another room, or none. */
  clear() {
    byId('messages').replaceChildren();
    byId('text').value = '';
    this.#last = null;
    this.#note = null;
    this.#following = true;
    this.#caughtUp();
    this.#looked(true);
    this.#measure();
  }

  /** The longest text that this room's messages can carry, in characters. */
  set limit(characters) {
    this.#limit = Math.max(1, Math.min(TEXT_MAX, characters));
    this.#measure();
  }

  /** Shows or takes away the field to write in. */
  set open(open) {
    byId('composer').hidden = !open;
  }

  /** Puts the cursor into the field, where that does not bring up a keyboard on the screen. */
  focus() {
    if (matchMedia('(pointer: coarse)').matches) byId('room-title').focus();
    else byId('text').focus();
  }

  /** A message of another member. */
  receive(person, text) {
    this.#add(this.#message(person, text, false));
    if (!this.#following) this.#behind();
    if (document.hidden || !document.hasFocus()) {
      this.#unread += 1;
      this.#onUnread(this.#unread);
    }
  }

  /** A line about the room itself: who came and went, what was lost. The same again is only counted. */
  note(text, { warn = false } = {}) {
    if (this.#note?.text === text) {
      this.#note.times += 1;
      this.#note.words.textContent = `${text} (${this.#note.times} times)`;
      return;
    }
    const words = make('span', '', text);
    this.#add(make('li', warn ? 'note warn' : 'note', words, ' ', clock(new Date())));
    this.#last = null;
    this.#note = { text, words, times: 1 };
  }

  #submit() {
    const field = byId('text');
    const text = field.value.trim();
    if (!text || lengthOf(text) > this.#limit) return;
    field.value = '';
    this.#measure();
    const line = this.#message(null, text, true);
    this.#following = true;
    this.#add(line);
    this.#deliver(line, text);
    field.focus();
  }

  /** Sends a line that is on the page already, and says on it how that went. */
  async #deliver(line, text) {
    line.classList.remove('failed');
    line.classList.add('waiting');
    const fate = line.querySelector('.fate');
    fate.replaceChildren('Sending…');
    try {
      await this.#send(text);
      fate.replaceChildren();
      line.classList.remove('waiting');
    } catch (error) {
      line.classList.replace('waiting', 'failed');
      const again = button('Try again', '', () => this.#deliver(line, text));
      fate.replaceChildren(`Not sent. ${error.message} `, again);
      if (line.isConnected) announce(`Not sent. ${error.message}`);
    }
  }

  #message(person, text, own) {
    const now = new Date();
    const author = own ? 'own' : person.id;
    const follows = this.#last?.author === author && now - this.#last.at < TOGETHER_MS;
    this.#last = { author, at: now };

    const name = make('strong', '', own ? 'You' : person.name);
    const words = make('p', 'text', text);
    words.dir = 'auto';
    const classes = ['message', own ? 'own' : `tint-${person.tint}`];
    if (follows) classes.push('follows');
    const line = make('li', classes.join(' '));
    if (!own) {
      const avatar = make('span', 'avatar', person.initials);
      avatar.setAttribute('aria-hidden', 'true');
      line.append(avatar);
    }
    line.append(make('p', 'from', name, ' ', clock(now)), words);
    if (own) line.append(make('p', 'fate'));
    return line;
  }

  #add(line) {
    const list = byId('messages');
    list.append(line);
    this.#note = null;
    while (list.childElementCount > LINES_MAX) list.firstElementChild.remove();
    if (this.#following) this.#toEnd();
  }

  #atEnd() {
    const log = byId('log');
    return log.scrollHeight - log.scrollTop - log.clientHeight < END_SLACK;
  }

  #toEnd() {
    const log = byId('log');
    log.scrollTop = log.scrollHeight;
    this.#following = true;
    this.#caughtUp();
  }

  #behind() {
    this.#missed += 1;
    byId('to-end-text').textContent = count(this.#missed, 'new message', 'new messages');
    byId('to-end').hidden = false;
  }

  #caughtUp() {
    this.#missed = 0;
    byId('to-end').hidden = true;
  }

  #looked(certainly = false) {
    if (!certainly && (document.hidden || !document.hasFocus())) return;
    this.#unread = 0;
    this.#onUnread(0);
  }

  /** Grows the field with its text, and counts when the limit is near. */
  #measure() {
    const field = byId('text');
    field.style.height = 'auto';
    if (field.value) field.style.height = `${field.scrollHeight}px`;

    const left = this.#limit - lengthOf(field.value.trim());
    const told = byId('text-length');
    const over = left < 0;
    if (over && !told.classList.contains('over'))
      announce(`Too long: a message holds ${this.#limit} characters.`);
    told.classList.toggle('over', over);
    told.textContent = over
      ? `${count(-left, 'character', 'characters')} too many (limit ${this.#limit})`
      : left <= TEXT_WARN
        ? `${count(left, 'character', 'characters')} left`
        : '';
    byId('send').disabled = over;
  }
}
