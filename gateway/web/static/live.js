// The live page: the feed's messages into the model, the model onto the screen, once per frame.

import { drawAgents, tickAgents } from '/static/agents.js';
import { Cards } from '/static/cards.js';
import { drawOutcomes, openClose, openToken, wireDialogs } from '/static/dialogs.js';
import { byId, setData, setText } from '/static/dom.js';
import { Link, ask } from '/static/link.js';
import { Model } from '/static/model.js';
import {
  drawCalls, drawClosed, drawPresenceFilter, drawTerminals, drawTiles, drawWorkers, tickCalls,
  tickTerminals,
} from '/static/panels.js';
import { clockTime, setClock } from '/static/times.js';
import { locale, switchLanguage, text } from '/static/words.js';

const SLOW_TICKS = 5; // seconds between updates of "3 minutes ago"

const model = new Model();
const cards = new Cards(openClose);
const link = new Link(take, show);

/** @type {{state: import('/static/link.js').LinkState, retryAt: number, heard: string}} */
const status = { state: 'connecting', retryAt: 0, heard: '' };
let frame = 0;
let asking = false;
let ticks = 0;
/** @type {import('/static/model.js').Terminal[] | null} what the filter found, instead of the feed's */
let filtered = null;

function take(/** @type {any} */ message) {
  if (message.at) {
    setClock(message.at);
    status.heard = message.at;
  }
  model.take(message);
  if (message.type === 'terminals' || message.type === 'snapshot') void filter();
  if (document.hidden) drawTiles(model); // no frames are drawn then, but the tab's title must tell
  later();
}

function later() {
  if (!frame) frame = requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  const { dirty } = model;
  const missing = model.dirtyCases.size || dirty.has('all') ? cards.draw(model) : [];
  if (dirty.has('calls')) drawCalls(model);
  if (dirty.has('workers')) drawWorkers(model);
  if (dirty.has('agents')) drawAgents(model);
  if (dirty.has('closed')) drawClosed(model);
  if (dirty.has('terminals')) table();
  model.dirtyCases.clear();
  dirty.clear();
  drawTiles(model);
  void fetchLines(missing);
}

function table() {
  const all = Object.values(model.counts).reduce((sum, n) => sum + n, 0);
  const chosen = byId('presence').value;
  if (filtered && chosen) drawTerminals(filtered, model.counts[chosen] ?? filtered.length);
  else drawTerminals(model.terminals, all);
}

/** Cases that came without their earlier lines: asked for one after the other. */
async function fetchLines(/** @type {string[]} */ ids) {
  if (asking || ids.length === 0) return;
  asking = true;
  try {
    for (const id of ids) {
      const { incident, timeline } = await ask(`/api/v1/incidents/${encodeURIComponent(id)}`);
      model.takeDetail(id, incident, timeline);
      later();
    }
  } catch (error) {
    console.warn('timeline not loaded', error); // the next news of the case asks again
  } finally {
    asking = false;
  }
}

async function filter() {
  const chosen = byId('presence').value;
  filtered = null;
  try {
    if (chosen) filtered = (await ask(`/api/v1/terminals?limit=100&presence=${chosen}`)).items;
  } catch (error) {
    console.warn('terminals not loaded', error); // the table shows the feed's first rows
  }
  model.dirty.add('terminals');
  later();
}

function show(/** @type {import('/static/link.js').LinkState} */ state, /** @type {number} */ retryAt) {
  Object.assign(status, { state, retryAt });
  if (state === 'token') openToken();
  drawStatus();
}

/** Says honestly whether what is shown is now. */
function drawStatus() {
  const { state, retryAt, heard } = status;
  const old = heard ? text('lost', { at: clockTime(heard) }) : text('lostNew');
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  const words = {
    connecting: heard ? old : text('connecting'),
    live: text('live'),
    lost: `${old} · ${text('retry', { s: seconds })}`,
    token: text('tokenTitle'),
  };
  setText(byId('link'), words[state]);
  setData(byId('link'), 'state', state);
  setData(document.body, 'link', state);
}

function drawWords() {
  document.documentElement.lang = locale();
  for (const element of document.querySelectorAll('[data-t]')) {
    setText(element, text(element.getAttribute('data-t') ?? ''));
  }
  for (const element of document.querySelectorAll('[data-t-label]')) {
    element.setAttribute('aria-label', text(element.getAttribute('data-t-label') ?? ''));
  }
  setText(byId('language'), text('other'));
  drawPresenceFilter();
  drawOutcomes();
  drawStatus();
}

function everySecond() {
  drawTiles(model);
  cards.tick();
  tickCalls();
  tickAgents();
  if (status.state === 'lost') drawStatus();
  ticks += 1;
  if (ticks % SLOW_TICKS === 0) tickTerminals();
}

byId('language').addEventListener('click', () => {
  switchLanguage();
  drawWords();
  cards.forget();
  for (const part of ['all', 'calls', 'workers', 'agents', 'closed', 'terminals']) model.dirty.add(part);
  later();
});
byId('presence').addEventListener('change', () => void filter());
wireDialogs(() => link.connect());
drawWords();
drawTiles(model);
setInterval(everySecond, 1000);
link.connect();
