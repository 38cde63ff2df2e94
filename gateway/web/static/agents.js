// The agents' panel: who can take a call, who is in one, and for how long.

import { byId, el, setText } from '/static/dom.js';
import { duration, now } from '/static/times.js';
import { text, word } from '/static/words.js';

const ROWS_MAX = 100;
const ORDER = ['offered', 'busy', 'ready', 'wrap_up', 'paused', 'offline'];

/** @param {import('/static/model.js').Model} model */
export function drawAgents(model) {
  const shown = model.agents.filter((agent) => agent.enabled);
  const ready = shown.filter((agent) => agent.state === 'ready').length;
  byId('no-agents').hidden = shown.length > 0;
  setText(byId('agents-note'), shown.length ? text('agentsReady', { n: ready, all: shown.length }) : '');
  const rank = (/** @type {string} */ state) => (ORDER.indexOf(state) + ORDER.length + 1) % (ORDER.length + 1);
  shown.sort((a, b) => rank(a.state) - rank(b.state) || a.since.localeCompare(b.since));
  byId('agents').replaceChildren(...shown.slice(0, ROWS_MAX).map(row));
}

function row(/** @type {import('/static/model.js').Agent} */ agent) {
  const timer = el('span', 'timer', duration(now() - Date.parse(agent.since)));
  timer.dataset.since = agent.since;
  const item = el('li', '', el('span', 'party', agent.label || agent.id),
    el('span', 'state', word('agent', agent.state)), timer);
  item.dataset.state = agent.state;
  item.title = `${agent.id} · ${agent.groups.join(', ')}`;
  const detail = agent.incident || agent.reason || causeOf(agent);
  if (detail) item.append(el('span', 'detail', detail));
  return item;
}

/** Why an agent is away, where nobody asked for it. */
function causeOf(/** @type {import('/static/model.js').Agent} */ { state, cause }) {
  const away = state === 'paused' || state === 'offline';
  return away && cause && cause !== 'person' ? word('agentCause', cause) : '';
}

/** How long each is in its state: once a second, without drawing the rows again. */
export function tickAgents() {
  for (const timer of document.querySelectorAll('#agents .timer')) {
    const { since = '' } = /** @type {HTMLElement} */ (timer).dataset;
    setText(timer, duration(now() - Date.parse(since)));
  }
}
