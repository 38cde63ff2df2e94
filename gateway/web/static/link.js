// The connection to the gateway: feed with back-off, and requests with the token.

const FIRST_MS = 500;
const LAST_MS = 15_000;
const SILENCE_MS = 15_000; // the gateway says something every 5 s
const UNAUTHORISED = 4401;
const TOKEN = 'onekey.token';

/** @typedef {'connecting' | 'live' | 'lost' | 'token'} LinkState */

/** The token lives as long as the tab: a shared screen must not keep it. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? '',
  set: (/** @type {string} */ value) => sessionStorage.setItem(TOKEN, value),
};

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<any>} the JSON answer; rejects with the problem's detail
 */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token.get()) headers.set('Authorization', `Bearer ${token.get()}`);
  const signal = AbortSignal.timeout(20_000);
  const response = await fetch(path, { ...options, headers, signal, cache: 'no-store' });
  const body = await response.json();
  if (!response.ok) throw new Error(body.field ? `${body.field}: ${body.detail}` : body.detail);
  return body;
}

/** Connects for ever: each connection is a new socket, and begins with a snapshot. */
export class Link {
  /**
   * @param {(message: any) => void} onMessage
   * @param {(state: LinkState, retryAt: number) => void} onState
   */
  constructor(onMessage, onState) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.failures = 0;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.heardAt = 0;
    setInterval(() => this.#watch(), 1000);
    window.addEventListener('online', () => this.#hurry());
  }

  connect() {
    this.onState('connecting', 0);
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/api/v1/feed`);
    this.socket = socket;
    this.heardAt = Date.now();
    // Also without a token: a gateway that needs one says so at once, another ignores it.
    socket.onopen = () => socket.send(JSON.stringify({ token: token.get() }));
    socket.onmessage = (event) => this.socket === socket && this.#heard(event.data);
    socket.onclose = (event) => this.socket === socket && this.#lost(event.code);
  }

  #heard(/** @type {string} */ data) {
    this.heardAt = Date.now();
    const message = JSON.parse(data);
    if (message.type === 'snapshot') {
      this.failures = 0;
      this.onState('live', 0);
    }
    this.onMessage(message);
  }

  #lost(/** @type {number} */ code) {
    this.socket = null;
    if (code === UNAUTHORISED) {
      this.onState('token', 0);
      return;
    }
    // Half fixed, half random: pages that lost one gateway must not come back at one instant.
    const pause = Math.min(LAST_MS, FIRST_MS * 2 ** this.failures) * (0.5 + Math.random() / 2);
    this.failures += 1;
    this.timer = setTimeout(() => this.connect(), pause);
    this.onState('lost', Date.now() + pause);
  }

  /** A dead network closes no socket; silence is how one notices. */
  #watch() {
    if (this.socket && Date.now() - this.heardAt > SILENCE_MS) {
      const dead = this.socket;
      this.#lost(0);
      dead.close();
    }
  }

  #hurry() {
    if (this.socket || this.timer === undefined) return;
    clearTimeout(this.timer);
    this.connect();
  }
}
