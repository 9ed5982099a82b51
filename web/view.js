/**
 * The pieces that every part of the page uses: finding and making elements, screens, the list of people.
 *
 * Text enters the page through `textContent` only. There is no HTML from a string anywhere, and the
 * page's Trusted Types policy would refuse it.
 */

const SVG = 'http://www.w3.org/2000/svg';

/** The element with this id; every id that the scripts use is in index.html. */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element.
 *
 * @param {string} tag
 * @param {string} className
 * @param {...(Node|string)} children strings become text
 */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Makes an element of SVG with these attributes. */
export function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A button with a label and what it does. */
export function button(label, className, act) {
  const element = make('button', className, label);
  element.type = 'button';
  element.addEventListener('click', act);
  return element;
}

/** The clock time of a moment, as people here write it, in a `<time>`. */
export function clock(date) {
  const element = make('time', '', date.toLocaleTimeString([], { timeStyle: 'short' }));
  element.dateTime = date.toISOString();
  return element;
}

/** Says something to screen readers that the eye sees anyway. */
export function announce(text) {
  byId('announce').textContent = text;
}

/** `1 person`, `2 people`. */
export const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;

/** Shows one of the three screens: `start`, `entering` or `room`. */
export function showScreen(name) {
  for (const screen of ['start', 'entering', 'room']) byId(screen).hidden = screen !== name;
  document.body.classList.toggle('in-room', name === 'room');
  byId('state').hidden = name !== 'room';
  if (name !== 'room') openPanel(false);
}

/** On a phone the panel takes the place of the messages. */
export function openPanel(open) {
  byId('room').classList.toggle('panel-open', open);
  byId('toggle-panel').setAttribute('aria-expanded', String(open));
}

/** The connection's state, in the bar at the top. */
export function showState(state, text) {
  byId('state').dataset.state = state;
  if (byId('state-text').textContent !== text) byId('state-text').textContent = text;
}

/**
 * Lists who is in the room.
 *
 * @param {{id: string, name: string, initials: string, tint: number, own: boolean, verified: boolean}[]} people
 * @param {((person: object) => void) | null} remove asks for a person's removal; null where one may not
 */
export function showPeople(people, remove) {
  byId('people').replaceChildren(...people.map((person) => personLine(person, remove)));
  byId('panel-count').textContent = String(people.length);
}

function personLine(person, remove) {
  const avatar = make('span', 'avatar', person.initials);
  avatar.setAttribute('aria-hidden', 'true');
  const about = make('span', '');
  if (person.own) {
    about.append('you');
  } else if (person.verified) {
    about.className = 'verified';
    about.append('✓ keys checked');
  } else {
    about.append('checking keys…');
  }
  const line = make(
    'li',
    `person tint-${person.tint}`,
    avatar,
    make('span', 'person-name', make('strong', '', person.name), about),
  );
  if (remove && !person.own) {
    const out = button('Remove', 'button', () => remove(person));
    out.setAttribute('aria-label', `Remove ${person.name}`);
    line.append(out);
  }
  return line;
}
