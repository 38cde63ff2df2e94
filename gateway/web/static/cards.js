// The cards of open incidents, each with its timeline. A card is kept and changed, never made anew.

import { arrange, byId, el, setData, setText } from '/static/dom.js';
import { isWaiting, zeroOf } from '/static/model.js';
import { clockTime, duration, now, offset } from '/static/times.js';
import { text, word } from '/static/words.js';

/** @typedef {import('/static/model.js').Case} Case */
/** @typedef {import('/static/model.js').Entry} Entry */

const CARDS_MAX = 100;
const LINES_MAX = 40; // of one card; the story of a call that goes well has about 15
const FIT = 14; // lines that need no scrolling (live.css: .timeline)
const PLAIN = ['target', 'party', 'terminal', 'by', 'label'];

/** What is said by the value alone, and what needs its name. */
function detailOf(/** @type {Entry} */ entry) {
  const parts = [];
  for (const [name, value] of Object.entries(entry.data ?? {})) {
    if (value === null || value === '') continue;
    if (PLAIN.includes(name)) parts.push(String(value));
    else if (name === 'outcome' || name === 'state') parts.push(outcomeWord(String(value)));
    else if (name === 'kind' || name === 'key') parts.push(word('kind', String(value)));
    else parts.push(`${word('data', name)} ${word('data', String(value))}`);
  }
  return parts.join(' · ');
}

function outcomeWord(/** @type {string} */ value) {
  const said = word('leg', value);
  return said === value ? word('outcome', value) : said;
}

function line(/** @type {Entry} */ entry, /** @type {number} */ zero) {
  const time = el('time', '', offset(Date.parse(entry.at) - zero));
  time.title = clockTime(entry.at);
  const said = el('span', 'said', el('b', '', word('what', entry.what)));
  const detail = detailOf(entry);
  if (detail) said.append(' ', el('span', 'detail', detail));
  const item = el('li', '', time, said, el('span', 'source', word('source', entry.source)));
  item.dataset.source = entry.source;
  item.dataset.what = entry.what;
  return item;
}

class Card {
  constructor(/** @type {(id: string) => void} */ onClose) {
    this.badge = el('span', 'badge');
    this.kind = el('strong', 'kind');
    this.timer = el('span', 'timer');
    this.flags = el('span', 'flags');
    this.who = el('p', 'who');
    this.when = el('p', 'when');
    this.earlier = el('p', 'earlier');
    this.lines = el('ol', 'timeline');
    this.button = el('button', 'quiet');
    this.button.setAttribute('type', 'button');
    this.id = '';
    this.button.addEventListener('click', () => onClose(this.id));
    const top = el('div', 'top', this.badge, this.kind, this.flags, this.timer);
    const foot = el('div', 'foot', this.when, this.button);
    this.root = el('article', 'card', top, this.who, this.earlier, this.lines, foot);
    /** @type {Entry[]} the lines drawn */
    this.drawn = [];
    this.zero = NaN;
  }

  draw(/** @type {Case} */ { incident, entries }) {
    this.incident = incident;
    this.id = incident.id;
    setData(this.root, 'state', incident.state);
    setData(this.root, 'kind', incident.kind);
    setText(this.badge, word('state', incident.state));
    setText(this.kind, word('kind', incident.kind));
    arrange(this.flags, incident.flags.map((flag) => el('span', `flag ${flag}`, word('flag', flag))));
    const label = incident.label ? [el('b', '', incident.label), ' '] : [];
    this.who.replaceChildren(...label, el('code', '', incident.terminal));
    if (incident.site) this.who.append(' ', el('span', 'site', incident.site));
    setText(this.when, this.#story());
    setText(this.button, text('close'));
    this.#drawLines(entries, zeroOf(incident));
    this.tick();
  }

  /** Only the timer: once a second. */
  tick() {
    if (!this.incident) return;
    const waiting = isWaiting(this.incident);
    setText(this.timer, waiting ? duration(now() - Date.parse(this.incident.received_at)) : '');
  }

  #story() {
    const i = /** @type {import('/static/model.js').Incident} */ (this.incident);
    const parts = [text(i.event === 'alarm' ? 'raised' : 'pressed', { at: clockTime(i.pressed_at) })];
    if (i.presses > 1) parts.push(text('presses', { n: i.presses }));
    if (i.answered_at) {
      const t = duration(Date.parse(i.answered_at) - Date.parse(i.received_at));
      parts.push(text('answeredBy', { who: i.answered_by ?? '', t }));
    }
    return parts.join(' · ');
  }

  #drawLines(/** @type {Entry[]} */ entries, /** @type {number} */ zero) {
    const wanted = entries.slice(-LINES_MAX);
    const hidden = entries.length - wanted.length;
    setText(this.earlier, hidden ? text('earlier', { n: hidden }) : '');
    const from = this.drawn.indexOf(wanted[0]);
    const grows =
      zero === this.zero && from >= 0 && this.drawn.slice(from).every((e, n) => e === wanted[n]);
    if (grows) {
      for (let n = 0; n < from; n += 1) this.lines.firstElementChild?.remove();
      const fresh = wanted.slice(this.drawn.length - from).map((entry) => line(entry, zero));
      for (const item of fresh) item.classList.add('fresh');
      this.#grow(fresh, wanted.length);
    } else {
      this.lines.replaceChildren(...wanted.map((entry) => line(entry, zero)));
    }
    this.drawn = wanted;
    this.zero = zero;
  }

  /** Follows the end, unless somebody reads further up. Measuring costs a layout: only if needed. */
  #grow(/** @type {HTMLElement[]} */ fresh, /** @type {number} */ length) {
    const { lines } = this;
    const follow =
      length > FIT && lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 40;
    lines.append(...fresh);
    if (follow) lines.scrollTop = lines.scrollHeight;
  }
}

export class Cards {
  /** @param {(id: string) => void} onClose */
  constructor(onClose) {
    this.onClose = onClose;
    /** @type {Map<string, Card>} */
    this.cards = new Map();
  }

  /**
   * @param {import('/static/model.js').Model} model
   * @returns {string[]} ids of drawn cases whose earlier lines are missing
   */
  draw(model) {
    const shown = model.ordered().slice(0, CARDS_MAX);
    const ids = new Set(shown.map((c) => c.incident.id));
    for (const id of this.cards.keys()) if (!ids.has(id)) this.cards.delete(id);
    const roots = shown.map((c) => this.#cardOf(c, model).root);
    arrange(byId('cards'), roots);
    byId('no-incidents').hidden = shown.length > 0;
    const all = model.open.size;
    const note = model.complete ? text('shown', { n: shown.length, all }) : text('more', { n: all });
    setText(byId('open-note'), all > shown.length || !model.complete ? note : '');
    return shown.filter((c) => !c.complete).map((c) => c.incident.id);
  }

  /** Forgets what was drawn, so that all is drawn in the other language. */
  forget() {
    this.cards.clear();
    byId('cards').replaceChildren();
  }

  tick() {
    for (const card of this.cards.values()) card.tick();
  }

  #cardOf(/** @type {Case} */ entry, /** @type {import('/static/model.js').Model} */ model) {
    const { id } = entry.incident;
    const known = this.cards.get(id);
    const card = known ?? new Card(this.onClose);
    if (!known || model.dirtyCases.has(id)) card.draw(entry);
    this.cards.set(id, card);
    return card;
  }
}
