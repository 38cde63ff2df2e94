// Times, as people read them at arm's length.

import { locale } from '/static/words.js';

let skew = 0; // ms that the gateway's clock is ahead of ours

/** @param {string} at the gateway's present time, ISO 8601 */
export function setClock(at) {
  skew = Date.parse(at) - Date.now();
}

/** @returns {number} the gateway's present time, ms since the epoch */
export const now = () => Date.now() + skew;

const pad = (/** @type {number} */ n) => String(n).padStart(2, '0');

/** @param {number} ms @returns {string} `0:42`, `12:05`, `1:02:05` */
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return h > 0 ? `${h}:${pad(m)}:${pad(s % 60)}` : `${m}:${pad(s % 60)}`;
}

/** @param {number} ms since the press @returns {string} `+0.012 s`, `+1:02.345` */
export function offset(ms) {
  const sign = ms < 0 ? '−' : '+';
  const size = Math.abs(Math.round(ms));
  if (size < 60_000) return `${sign}${(size / 1000).toFixed(3)} s`;
  return `${sign}${duration(size)}.${String(size % 1000).padStart(3, '0')}`;
}

/** @param {string} iso @returns {string} the local time of day */
export function clockTime(iso) {
  return new Date(iso).toLocaleTimeString(locale(), { hour12: false });
}

/** @param {string} iso @returns {string} how long ago, roughly */
export function since(iso) {
  const s = Math.max(0, Math.round((now() - Date.parse(iso)) / 1000));
  /** @type {[number, string]} */
  const [size, unit] =
    s < 60 ? [1, 'second'] : s < 3600 ? [60, 'minute'] : s < 86400 ? [3600, 'hour'] : [86400, 'day'];
  const format = new Intl.RelativeTimeFormat(locale(), { numeric: 'always', style: 'short' });
  return format.format(-Math.floor(s / size), /** @type {Intl.RelativeTimeFormatUnit} */ (unit));
}
