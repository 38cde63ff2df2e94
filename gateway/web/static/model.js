// What the page knows. Takes the feed's messages, remembers which parts must be drawn again.

/**
 * @typedef {{at: string, source: string, what: string, call?: string, leg?: string,
 *   data?: Record<string, string | number | boolean | null>}} Entry
 * @typedef {{id: string, terminal: string, label: string, kind: string, event: string,
 *   state: string, flags: string[], site: string | null, pressed_at: string,
 *   received_at: string, opened_at: string, presses: number, answered_at: string | null,
 *   answered_by: string | null, closed_at: string | null, outcome: string | null,
 *   revision: number}} Incident
 * @typedef {{incident: Incident, entries: Entry[], complete: boolean}} Case
 * @typedef {{id: string, role: string, party: string, state: string}} Leg
 * @typedef {{id: string, incident: string, flow: string, phase: string, started_at: string,
 *   legs: Leg[]}} Call
 * @typedef {{slot: number, pid: number, state: string, legs_used: number, legs_limit: number,
 *   calls: string[], calls_carried: number, started_at: string}} Worker
 * @typedef {{id: string, label: string, enabled: boolean, groups: string[], state: string,
 *   since: string, cause: string, reason: string, incident: string | null,
 *   call: string | null}} Agent
 * @typedef {{id: string, kind: string, model: string, site: string | null, label: string,
 *   presence: string, last_seen_at: string | null, battery: number | null}} Terminal
 */

const CLOSED_MAX = 20;
const ENTRIES_MAX = 500; // lines kept of one case; its whole story is at /api/v1/incidents/{id}
const WAITING = new Set(['open', 'alerting', 'unanswered']);

/** @param {Incident} incident */
export const isWaiting = (incident) => WAITING.has(incident.state);

/** @param {Incident} incident @returns {number} ms that the offsets of its lines count from */
export function zeroOf(incident) {
  const [pressed, received] = [Date.parse(incident.pressed_at), Date.parse(incident.received_at)];
  // A late press would show every step as minutes late; a clock ahead of ours, as before its cause.
  return incident.flags.includes('delayed') || pressed > received ? received : pressed;
}

const keyOf = (/** @type {Entry} */ e) => JSON.stringify([e.at, e.what, e.call, e.leg, e.data]);

export class Model {
  constructor() {
    /** @type {Map<string, Case>} */
    this.open = new Map();
    /** @type {Incident[]} the newest first */
    this.closed = [];
    /** @type {Call[]} */
    this.calls = [];
    /** @type {Worker[]} */
    this.workers = [];
    /** @type {Agent[]} */
    this.agents = [];
    /** @type {Terminal[]} */
    this.terminals = [];
    /** @type {Record<string, number>} */
    this.counts = {};
    this.complete = true;
    /** @type {Set<string>} ids of cases to draw again */
    this.dirtyCases = new Set();
    /** @type {Set<string>} parts to draw again */
    this.dirty = new Set();
  }

  /** @param {any} message of the feed; types we do not know are of a newer gateway */
  take(message) {
    if (message.type === 'snapshot') this.#snapshot(message);
    else if (message.type === 'incident') this.#incident(message.incident, message.entries);
    else if (message.type === 'calls') this.#set('calls', message.items);
    else if (message.type === 'workers') this.#set('workers', message.items);
    else if (message.type === 'agents') this.#set('agents', message.items);
    else if (message.type === 'terminals') this.#terminals(message);
  }

  /** @param {string} id @param {Incident} incident @param {Entry[]} entries its whole timeline */
  takeDetail(id, incident, entries) {
    const known = this.open.get(id);
    if (!known) return;
    const later = known.entries;
    known.entries = entries;
    known.complete = true;
    if (incident.revision > known.incident.revision) known.incident = incident;
    this.#append(known, later);
    this.dirtyCases.add(id);
  }

  /** @returns {Case[]} who waits for an answer first, the longest wait first */
  ordered() {
    const rank = (/** @type {Case} */ c) => Date.parse(c.incident.received_at);
    const cases = [...this.open.values()];
    const waiting = cases.filter((c) => isWaiting(c.incident)).sort((a, b) => rank(a) - rank(b));
    const others = cases.filter((c) => !isWaiting(c.incident)).sort((a, b) => rank(b) - rank(a));
    return [...waiting, ...others];
  }

  /** @returns {Incident[]} cases nobody has answered, the longest wait first */
  waiting() {
    return this.ordered().map((c) => c.incident).filter(isWaiting);
  }

  #snapshot(/** @type {any} */ message) {
    this.open.clear();
    this.closed = [];
    for (const { incident, entries } of message.incidents) {
      if (incident.state === 'closed') this.closed.push(incident);
      else this.open.set(incident.id, { incident, entries: entries ?? [], complete: !!entries });
      this.dirtyCases.add(incident.id);
    }
    this.closed.sort((a, b) => (b.closed_at ?? '').localeCompare(a.closed_at ?? ''));
    this.complete = message.complete;
    this.#set('calls', message.calls);
    this.#set('workers', message.workers);
    this.#set('agents', message.agents);
    this.#terminals(message.terminals);
    this.dirty.add('closed').add('all');
  }

  #incident(/** @type {Incident} */ incident, /** @type {Entry[]} */ entries) {
    this.dirtyCases.add(incident.id);
    if (incident.state === 'closed') {
      this.open.delete(incident.id);
      const others = this.closed.filter((c) => c.id !== incident.id);
      this.closed = [incident, ...others].slice(0, CLOSED_MAX);
      this.dirty.add('closed');
      return;
    }
    if (this.closed.some((c) => c.id === incident.id)) return; // older news, overtaken
    const first = { incident, entries: [], complete: incident.revision <= 1 };
    const known = this.open.get(incident.id) ?? first;
    this.open.set(incident.id, known);
    if (incident.revision >= known.incident.revision) known.incident = incident;
    this.#append(known, entries);
  }

  /** News may repeat what the snapshot held already: it was subscribed to before. */
  #append(/** @type {Case} */ known, /** @type {Entry[]} */ entries) {
    const seen = new Set(known.entries.slice(-50).map(keyOf));
    known.entries = [...known.entries, ...entries.filter((e) => !seen.has(keyOf(e)))];
    if (known.entries.length > ENTRIES_MAX) known.entries = known.entries.slice(-ENTRIES_MAX);
  }

  #terminals(/** @type {any} */ message) {
    this.counts = message.counts;
    this.#set('terminals', message.items);
  }

  #set(/** @type {'calls' | 'workers' | 'agents' | 'terminals'} */ part, /** @type {any[]} */ items) {
    this[part] = items;
    this.dirty.add(part);
  }
}
