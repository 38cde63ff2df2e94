// Everything beside the cards: tiles, banner, calls, workers, closed cases, terminals.

import { arrange, byId, el, setData, setText } from '/static/dom.js';
import { clockTime, duration, now, since } from '/static/times.js';
import { text, word, wordsOf } from '/static/words.js';

/** @typedef {import('/static/model.js').Model} Model */
/** @typedef {import('/static/model.js').Terminal} Terminal */

const ROWS_MAX = 100;
const LOW_BATTERY = 20; // per cent
const DOTS_MAX = 8; // legs drawn one by one; a larger worker gets a bar

/** @type {Map<string, {root: HTMLElement, value: HTMLElement, note: HTMLElement}>} */
const tiles = new Map();

function tile(/** @type {string} */ key, /** @type {string} */ name, /** @type {string} */ value,
  note = '', tone = '') {
  let known = tiles.get(key);
  if (!known) {
    const parts = { value: el('b'), note: el('small') };
    known = { root: el('div', 'tile', el('span'), parts.value, parts.note), ...parts };
    tiles.set(key, known);
    byId('tiles').append(known.root);
  }
  setText(/** @type {Element} */ (known.root.firstElementChild), name);
  setText(known.value, value);
  setText(known.note, note);
  setData(known.root, 'tone', tone);
}

/** Draws tiles, banner and the tab's title: once a second, and after news. */
export function drawTiles(/** @type {Model} */ model) {
  const waiting = model.waiting();
  const oldest = waiting.length ? duration(now() - Date.parse(waiting[0].received_at)) : '';
  const used = model.workers.reduce((sum, w) => sum + w.legs_used, 0);
  const limit = model.workers.reduce((sum, w) => sum + w.legs_limit, 0);
  const { online = 0, late = 0, offline = 0 } = model.counts;
  const alarm = waiting.length ? 'alarm' : '';
  tile('open', text('tileOpen'), `${model.open.size}${model.complete ? '' : '+'}`,
    waiting.length ? text('tileWaits', { n: waiting.length }) : text('nobodyWaits'), alarm);
  tile('oldest', text('tileWaiting'), oldest || '—', '', alarm);
  tile('calls', text('tileCalls'), String(model.calls.length));
  tile('legs', text('tileLegs'), `${used} / ${limit}`,
    text('tileWorkers', { n: model.workers.length }), limit > 0 && used >= limit ? 'warn' : '');
  tile('terminals', text('tileOnline'), online.toLocaleString(),
    text('tileLate', { late: late.toLocaleString(), offline: offline.toLocaleString() }));
  drawBanner(waiting.length, oldest);
}

function drawBanner(/** @type {number} */ n, /** @type {string} */ t) {
  const banner = byId('banner');
  banner.hidden = n === 0;
  // Read out when the number changes, not every second with the time.
  setText(byId('banner-count'), n ? text('waiting', { n }) : '');
  setText(byId('banner-time'), n ? text('longest', { t }) : '');
  document.title = n ? `(${n}) ${text('waiting', { n })}${text('longest', { t })}` : text('title');
}

export function drawCalls(/** @type {Model} */ model) {
  byId('no-calls').hidden = model.calls.length > 0;
  const boxes = model.calls.slice(0, ROWS_MAX).map((call) => {
    const began = el('span', 'timer', duration(now() - Date.parse(call.started_at)));
    began.dataset.since = call.started_at;
    const top = el('div', 'top', el('b', '', word('flow', call.flow)),
      el('span', 'phase', word('phase', call.phase)), began);
    const legs = call.legs.map((leg) => {
      const state = el('span', 'state', word('leg', leg.state));
      const item = el('li', '', el('span', 'role', word('role', leg.role)),
        el('span', 'party', leg.party), state);
      item.dataset.state = leg.state;
      return item;
    });
    return el('article', 'call', top, el('ul', 'legs', ...legs), el('code', '', call.incident));
  });
  byId('calls').replaceChildren(...boxes);
}

/** Durations of calls: once a second, without drawing the calls again. */
export function tickCalls() {
  for (const timer of document.querySelectorAll('#calls .timer')) {
    const { since: began = '' } = /** @type {HTMLElement} */ (timer).dataset;
    setText(timer, duration(now() - Date.parse(began)));
  }
}

export function drawWorkers(/** @type {Model} */ model) {
  byId('no-workers').hidden = model.workers.length > 0;
  const boxes = model.workers.slice(0, ROWS_MAX).map((worker) => {
    const box = el('div', 'worker', el('b', '', `#${worker.slot}`), legsOf(worker),
      el('span', 'state', word('worker', worker.state)),
      el('small', '', `${worker.legs_used}/${worker.legs_limit} · ${text('carried', { n: worker.calls_carried })}`));
    box.title = `pid ${worker.pid} · ${clockTime(worker.started_at)}`;
    box.dataset.state = worker.state;
    return box;
  });
  byId('workers').replaceChildren(...boxes);
}

function legsOf(/** @type {import('/static/model.js').Worker} */ worker) {
  if (worker.legs_limit > DOTS_MAX) {
    const bar = /** @type {HTMLMeterElement} */ (el('meter'));
    bar.max = worker.legs_limit;
    bar.value = worker.legs_used;
    return bar;
  }
  const dots = Array.from({ length: worker.legs_limit }, (_, n) =>
    el('i', n < worker.legs_used ? 'used' : ''));
  const row = el('span', 'dots', ...dots);
  row.setAttribute('aria-hidden', 'true');
  return row;
}

export function drawClosed(/** @type {Model} */ model) {
  byId('no-closed').hidden = model.closed.length > 0;
  const items = model.closed.map((incident) => {
    const outcome = el('span', 'outcome', word('outcome', incident.outcome ?? 'other'));
    const at = el('time', '', clockTime(incident.closed_at ?? incident.opened_at));
    const item = el('li', '', at, el('b', '', word('kind', incident.kind)),
      el('span', 'party', incident.label || incident.terminal), outcome);
    item.title = incident.id;
    return item;
  });
  byId('closed').replaceChildren(...items);
}

/** @type {Map<string, {row: HTMLElement, seen: HTMLElement, drawn: string, at: string | null}>} */
const rows = new Map();

export function drawTerminals(/** @type {Terminal[]} */ terminals, /** @type {number} */ all) {
  const shown = terminals.slice(0, ROWS_MAX);
  const ids = new Set(shown.map((t) => t.id));
  for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
  arrange(byId('terminals'), shown.map(rowOf));
  byId('no-terminals').hidden = shown.length > 0;
  setText(byId('terminals-note'), all > shown.length ? text('shown', { n: shown.length, all: all.toLocaleString() }) : '');
}

function rowOf(/** @type {Terminal} */ t) {
  const drawn = JSON.stringify([t, text('title')]);
  const known = rows.get(t.id);
  if (known?.drawn === drawn) return known.row;
  const seen = el('td');
  const presence = el('td', 'presence', el('span', 'dot'), word('presence', t.presence));
  const row = el('tr', '', el('td', '', el('code', '', t.id)), el('td', 'name', t.label),
    el('td', '', word('terminalKind', t.kind)), presence, batteryOf(t.battery), seen);
  row.dataset.presence = t.presence;
  rows.set(t.id, { row, seen, drawn, at: t.last_seen_at });
  tickRow(seen, t.last_seen_at);
  return row;
}

function batteryOf(/** @type {number | null} */ battery) {
  if (battery === null) return el('td', 'battery', '—');
  return el('td', battery <= LOW_BATTERY ? 'battery low' : 'battery', `${battery} %`);
}

function tickRow(/** @type {HTMLElement} */ seen, /** @type {string | null} */ at) {
  setText(seen, at === null ? text('never') : since(at));
  if (at !== null) seen.title = clockTime(at);
}

/** How long ago each terminal was seen: every few seconds. */
export function tickTerminals() {
  for (const { seen, at } of rows.values()) tickRow(seen, at);
}

/** Fills the filter of the table in the present language. */
export function drawPresenceFilter() {
  const select = byId('presence');
  const chosen = select.value;
  const option = (/** @type {string} */ value, /** @type {string} */ name) => {
    const made = /** @type {HTMLOptionElement} */ (el('option', '', name));
    made.value = value;
    return made;
  };
  const words = wordsOf('presence').map((value) => option(value, word('presence', value)));
  select.replaceChildren(option('', text('all')), ...words);
  select.value = chosen;
}
