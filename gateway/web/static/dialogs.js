// The two dialogs: closing a case, and giving the token.

import { byId, el } from '/static/dom.js';
import { ask, token } from '/static/link.js';
import { text, word, wordsOf } from '/static/words.js';

const BY_CLOCK_ONLY = 'expired';
let incident = '';

/** Opens the dialog for a case. @param {string} id */
export function openClose(id) {
  incident = id;
  byId('close-id').textContent = id;
  byId('close-error').textContent = '';
  byId('close-note').value = '';
  drawOutcomes();
  byId('close-dialog').showModal();
}

/** Fills the list of outcomes in the present language. */
export function drawOutcomes() {
  const option = (/** @type {string} */ value, /** @type {string} */ name) => {
    const made = /** @type {HTMLOptionElement} */ (el('option', '', name));
    made.value = value;
    return made;
  };
  const given = wordsOf('outcome').filter((value) => value !== BY_CLOCK_ONLY);
  const options = given.map((value) => option(value, word('outcome', value)));
  byId('close-outcome').replaceChildren(option('', text('choose')), ...options);
}

async function submitClose(/** @type {Event} */ event) {
  event.preventDefault();
  const [button] = byId('close-dialog').querySelectorAll('[type=submit]');
  button.disabled = true;
  try {
    await ask(`/api/v1/incidents/${encodeURIComponent(incident)}/close`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ outcome: byId('close-outcome').value, note: byId('close-note').value }),
    });
    byId('close-dialog').close(); // the feed brings the closed case
  } catch (error) {
    const why = error instanceof TypeError ? text('unreachable') : /** @type {Error} */ (error).message;
    byId('close-error').textContent = text('failed', { why });
  } finally {
    button.disabled = false;
  }
}

/** Asks for the token. */
export function openToken() {
  const dialog = byId('token-dialog');
  if (!dialog.open) dialog.showModal();
}

/** @param {() => void} onToken called when a token was given */
export function wireDialogs(onToken) {
  byId('close-dialog').querySelector('form').addEventListener('submit', submitClose);
  byId('close-dialog').querySelector('[data-dismiss]')
    .addEventListener('click', () => byId('close-dialog').close());
  byId('token-dialog').addEventListener('cancel', (/** @type {Event} */ e) => e.preventDefault());
  byId('token-dialog').querySelector('form').addEventListener('submit', () => {
    token.set(byId('token').value);
    byId('token').value = '';
    onToken();
  });
}
