/**
 * One stay in one room: what the SDK tells is brought to the page, what the person wants to the SDK.
 *
 * Owns the room object and its listeners; `end` lets go of both. Where the person goes afterwards is
 * app.js's business.
 */

import {
  closeDialogs,
  confirm,
  copyLink,
  openInvite,
  openVerify,
  refreshVerify,
  shareLink,
} from './dialogs.js';
import { Names } from './names.js';
import { byId, count, openPanel, showPeople, showScreen, showState } from './view.js';
import {
  ALONE_AS_GUEST,
  ALONE_AS_HOST,
  endingOf,
  gapText,
  leaveText,
  RESET_TEXT,
  troubleOf,
  waitingOf,
} from './words.js';

/** Bytes of UTF-8 that one character can take. */
const CHARACTER_BYTES = 4;
/** How often the countdown to the next try is drawn. */
const TICK_MS = 250;

export class Stay {
  #room;
  #chat;
  #onFailure;
  #onOver;
  #names = new Names();
  #listening = new AbortController();
  #opened = false;
  #interrupted = false;
  #ticking = null;

  /**
   * @param {import('../sdk/src/index.js').Room} room
   * @param {import('./chat.js').Chat} chat
   * @param {{onFailure: (reason: string) => void, onOver: () => void}} about
   *   `onFailure`: it closed before it ever opened; `onOver`: the room is over, for everybody
   */
  constructor(room, chat, { onFailure, onOver }) {
    this.#room = room;
    this.#chat = chat;
    this.#onFailure = onFailure;
    this.#onOver = onOver;
    room.ready.catch(() => {}); // The event `state` says the same, and more.
    const on = (name, act) => {
      room.addEventListener(name, ({ detail }) => act(detail), { signal: this.#listening.signal });
    };
    on('state', (detail) => this.#onState(detail));
    on('message', (detail) => this.#onMessage(detail));
    on('join', ({ member }) => this.#onJoin(member));
    on('leave', ({ member, why }) => this.#onLeave(member, why));
    on('verified', () => this.#peopleChanged());
    on('gap', ({ from, to }) => chat.note(gapText(from, to), { warn: true }));
    on('reset', () => chat.note(RESET_TEXT, { warn: true }));
    on('room', ({ locked }) => this.#onLocked(locked));
    on('error', ({ code }) => chat.note(troubleOf(code), { warn: true }));
    this.#onState({ state: room.state, reason: '' });
  }

  /** The room's link. Its fragment is the key. */
  get link() {
    return this.#room.link;
  }

  get owns() {
    return this.#room.ownerSecret !== '';
  }

  /** Leaves the room and stops listening; safe to call twice. */
  end() {
    this.#listening.abort();
    this.#stopTicking();
    closeDialogs();
    if (this.#room.state !== 'closed') this.#room.leave().catch(() => {}); // It is left either way.
  }

  /** Sends a message; rejects with an Error whose message is for people. */
  async send(text) {
    try {
      await this.#room.send(text, { ack: true });
    } catch (error) {
      throw new Error(troubleOf(error.code), { cause: error });
    }
  }

  invite() {
    openInvite(this.link);
  }

  copy(pressed) {
    return copyLink(this.link, pressed);
  }

  share() {
    return shareLink(this.link);
  }

  verify() {
    return openVerify(() => this.#room.verification());
  }

  /** Locks the room, or unlocks it. */
  async turnLock() {
    const { locked } = this.#room;
    await this.#ask(byId('lock'), () => (locked ? this.#room.unlock() : this.#room.lock()));
  }

  /** Ends the room for everybody, after a question. */
  async close() {
    const sure = await confirm({
      title: 'Close the room for everybody?',
      text: 'Everybody is put out at once, and the link will not open it again.',
      yes: 'Close the room',
    });
    if (sure) await this.#ask(byId('close-room'), () => this.#room.close());
  }

  async #remove({ id, name }) {
    const sure = await confirm({
      title: `Remove ${name}?`,
      text: 'They are put out of the room. They still have the link: lock the room as well if they should stay out.',
      yes: 'Remove',
    });
    if (sure) await this.#ask(null, () => this.#room.kick(id));
  }

  /** Runs an owner's call; a refusal becomes a line in the log. */
  async #ask(pressed, call) {
    if (pressed) pressed.disabled = true;
    try {
      await call();
    } catch (error) {
      if (!this.#listening.signal.aborted) this.#chat.note(troubleOf(error.code), { warn: true });
    } finally {
      if (pressed) pressed.disabled = false;
    }
  }

  #onState({ state, reason, retryInMs }) {
    this.#stopTicking();
    if (state === 'open') this.#onOpen();
    else if (state === 'closed') this.#onClosed(reason);
    else if (this.#opened) this.#onInterrupted(state, reason, retryInMs);
    else this.#onEntering(reason, retryInMs);
  }

  #onEntering(reason, retryInMs) {
    showScreen('entering');
    byId('entering-text').textContent = reason ? waitingOf(reason) : '';
    if (retryInMs > 0)
      this.#countDown(retryInMs, (text) => {
        byId('entering-countdown').textContent = text;
      });
  }

  #onOpen() {
    showState('open', 'Connected');
    this.#chat.limit = Math.floor(this.#room.bytesMax / CHARACTER_BYTES);
    if (!this.#opened) {
      this.#opened = true;
      this.#chat.open = true;
      byId('ended').hidden = true;
      byId('room').classList.remove('over');
      byId('owner').hidden = !this.owns;
      const host = this.owns;
      byId('alone-title').textContent = host ? 'Your room is ready' : 'Nobody else is here yet';
      byId('alone-text').textContent = host ? ALONE_AS_HOST : ALONE_AS_GUEST;
      byId('alone').hidden = false;
      showScreen('room');
      this.#chat.focus();
    } else if (this.#interrupted) {
      this.#chat.note('Connected again');
    }
    this.#interrupted = false;
    this.#showLock();
    this.#peopleChanged();
  }

  #onInterrupted(state, reason, retryInMs) {
    showState('reconnecting', 'Reconnecting');
    this.#peopleChanged();
    if (retryInMs > 0)
      this.#countDown(retryInMs, (text) => {
        byId('state-countdown').textContent = text;
      });
    if (this.#interrupted || state !== 'reconnecting') return;
    this.#interrupted = true;
    this.#chat.note(
      `${waitingOf(reason)} What you write now is sent when the connection is back.`,
      { warn: true },
    );
  }

  #onClosed(reason) {
    this.#listening.abort();
    closeDialogs();
    if (reason === 'room_closed') this.#onOver();
    if (!this.#opened) {
      this.#onFailure(reason);
      return;
    }
    const { title, text, retry } = endingOf(reason);
    showState('closed', 'Not connected');
    openPanel(false);
    byId('room').classList.add('over');
    byId('ended-title').textContent = title;
    byId('ended-text').textContent = text;
    byId('ended-retry').hidden = !retry;
    byId('ended').hidden = false;
    byId('alone').hidden = true;
    this.#chat.open = false;
    byId('summary-people').textContent = '';
    byId('summary-door').textContent = '';
    byId('ended-title').focus();
  }

  #onMessage({ from, data, kind, own }) {
    if (own) return;
    const person = { id: from, ...this.#names.of(from) };
    if (kind === 'text') this.#chat.receive(person, data);
    else this.#chat.note(`${person.name} sent something that this page cannot show`);
  }

  #onJoin(member) {
    this.#chat.note(`${this.#names.of(member).name} came in`);
    this.#peopleChanged();
  }

  #onLeave(member, why) {
    this.#chat.note(leaveText(this.#names.of(member).name, why));
    this.#names.forget(member);
    this.#peopleChanged();
  }

  #onLocked(locked) {
    this.#chat.note(
      locked
        ? 'The room is locked: nobody else can come in'
        : 'The room is open again to everybody who has the link',
    );
    this.#showLock();
  }

  #showLock() {
    byId('lock-text').textContent = this.#room.locked ? 'Unlock the room' : 'Lock the room';
    this.#showSummary();
  }

  #showSummary() {
    byId('summary-people').textContent = count(this.#room.members.size + 1, 'person', 'people');
    byId('summary-door').textContent = this.#room.locked
      ? 'locked'
      : 'open to whoever has the link';
  }

  #peopleChanged() {
    const { self, members } = this.#room;
    const others = [...members.values()].map(({ id, verified }) => ({
      id,
      verified,
      own: false,
      ...this.#names.of(id),
    }));
    showPeople(
      [{ id: self, verified: true, own: true, ...this.#names.of(self) }, ...others],
      this.owns ? (person) => this.#remove(person) : null,
    );
    if (others.length > 0) byId('alone').hidden = true;
    this.#showSummary();
    refreshVerify(() => this.#room.verification());
  }

  #countDown(milliseconds, show) {
    const end = performance.now() + milliseconds;
    const draw = () => {
      const seconds = Math.ceil((end - performance.now()) / 1000);
      show(seconds > 0 ? `in ${seconds} s` : 'now');
    };
    draw();
    this.#ticking = setInterval(draw, TICK_MS);
  }

  #stopTicking() {
    clearInterval(this.#ticking);
    byId('state-countdown').textContent = '';
    byId('entering-countdown').textContent = '';
  }
}
