import { FAULT_GROUPS, FAULT_HELP, OPERATIONS } from '../shared/fault-help.js';
import { type Fault, kindOf, malformedShapes, ONLY_AT } from '../shared/faults.js';
import { html, type Html } from './html.js';
import { page } from './pages.js';

const NAMES: Record<string, string> = { azure: 'Azure', aws: 'AWS', gcp: 'Google Cloud' };
const SHOWN_STRIKES = 6;

export interface FaultsView {
  /** Of rules with a share and no seed of their own. */
  seed: string;
  armed: Fault[];
  spent: Fault[];
  /** What was typed and could not be armed, and why. */
  refused?: { form: Record<string, string | undefined>; message: string };
}

export function faultsPage(view: FaultsView): string {
  return page(
    'Faults',
    html`<header>
        <h1>Marketplace sandbox</h1>
        <a href="/">back to the shop</a>
      </header>
      <main>
        ${view.refused ? html`<p class="note" role="alert" id="refused">Not armed. ${view.refused.message}</p>` : ''}
        <h2>Arm a fault</h2>
        ${armForm(view)}
        <h2 id="armed">Armed</h2>
        ${view.armed.length ? [faultsTable(view.armed, true), clearForm()] : html`<p class="quiet">No fault is armed: every call and every notification goes through as the contracts say. Arm one above, then use the shop or the seller's side.</p>`}
        <h2>Spent</h2>
        ${view.spent.length ? faultsTable([...view.spent].reverse(), false) : html`<p class="quiet">No fault has struck for the last time yet.</p>`}
        <h2>What there is</h2>
        ${FAULT_GROUPS.map(
          ({ title, kinds }) =>
            html`<h3>${title}</h3>
              <dl>
                ${kinds.map(
                  (kind) =>
                    html`<dt>
                        <code>${kind}</code
                        >${ONLY_AT[kind] ? html` <span class="quiet">${ONLY_AT[kind].map((one) => NAMES[one]).join(', ')}</span>` : ''}
                      </dt>
                      <dd>
                        ${FAULT_HELP[kind].does}${FAULT_HELP[kind].reads ? html` <span class="quiet">Reads ${FAULT_HELP[kind].reads}.</span>` : ''}
                      </dd>`,
                )}
              </dl>`,
        )}
      </main>`,
  );
}

function armForm({ seed, refused }: FaultsView): Html {
  const typed = refused?.form ?? {};
  const option = (name: string, value: string, label: string): Html =>
    html`<option value="${value}" ${typed[name] === value ? 'selected' : ''}>${label}</option>`;
  const field = (name: string, label: string, help: string, more: Html): Html =>
    html`<label for="${name}">${label}</label
      ><input id="${name}" name="${name}" value="${typed[name] ?? ''}" aria-describedby="${name}-help" ${more} /><small
        id="${name}-help"
        class="quiet"
        >${help}</small
      >`;
  const number = html`inputmode="numeric" pattern="-?[0-9]+"`;
  const anyone = Object.values(OPERATIONS).flatMap(({ calls, notifications }) => [...calls, ...notifications]);
  return html`<form class="sheet" method="post" action="/storefront/faults" ${refused ? html`aria-describedby="refused"` : ''}>
    <label for="marketplace">Marketplace</label
    ><select id="marketplace" name="marketplace">
      ${Object.entries(NAMES).map(([value, label]) => option('marketplace', value, label))}
    </select>
    <label for="kind">Fault</label
    ><select id="kind" name="kind" aria-describedby="kind-help">
      ${FAULT_GROUPS.map(({ title, kinds }) => html`<optgroup label="${title}">${kinds.map((kind) => option('kind', kind, kind))}</optgroup>`)}</select
    ><small id="kind-help" class="quiet">Each is explained below. "before" has no effect; "after" has taken effect.</small>
    ${field('operation', 'Strikes', 'A call or a notification by its name; empty for any.', html`list="operations" placeholder="any"`)}
    <datalist id="operations">${[...new Set(anyone)].map((name) => html`<option value="${name}"></option>`)}</datalist>
    ${field('times', 'Times', 'How often at most. Empty: once, or without end where there is a share.', number)}
    ${field('rate', 'Share', 'From 0 to 1, of all that match. Empty: each one.', html`inputmode="decimal" pattern="[01]([.][0-9]+)?|[.][0-9]+"`)}
    ${field('seed', 'Seed', `Of the share: the same seed strikes the same calls again. Empty: ${seed}.`, html`maxlength="200"`)}
    ${field('delayMs', 'delayMs', 'Milliseconds, where the fault waits.', number)}
    ${field('status', 'Status', '400 to 599, for status.', number)}
    ${field('retryAfter', 'Retry-After', 'Seconds or a date, for status and throttle.', html``)}
    <label for="shape">Shape</label
    ><select id="shape" name="shape" aria-describedby="shape-help">
      ${malformedShapes.map((shape) => option('shape', shape, shape))}</select
    ><small id="shape-help" class="quiet"
      >Of what is malformed: half, a proxy's page, nothing, cut off, or good JSON under a wrong content type.</small
    >
    ${field('skewMs', 'skewMs', 'Milliseconds from real time; negative is behind.', number)}
    ${field('records', 'Records', 'How many a batch leaves, for unprocessed.', number)}
    <span></span><span><button class="main">Arm</button></span>
  </form>`;
}

function faultsTable(faults: Fault[], isArmed: boolean): Html {
  return html`<div class="wide">
    <table class="rows">
      <thead>
        <tr>
          <th>Fault</th>
          <th>Strikes</th>
          <th>Share and seed</th>
          <th>Struck</th>
          ${isArmed ? html`<th>Take back</th>` : ''}
        </tr>
      </thead>
      <tbody>
        ${faults.map(
          (one) =>
            html`<tr>
              <td><code>${kindOf(one)}</code>${details(one)}</td>
              <td>${NAMES[one.marketplace]}<br />${one.operation === '*' ? 'any' : one.operation}</td>
              <td>${one.rate === undefined ? 'each one' : html`${one.rate}<br /><span class="quiet">seed ${one.seed}</span>`}</td>
              <td>${struck(one, isArmed)}</td>
              ${
                isArmed
                  ? html`<td>
                      <form method="post" action="/storefront/faults/${one.id}/remove">
                        <button
                          aria-label="take back ${kindOf(one)} at ${NAMES[one.marketplace]}, ${one.operation === '*' ? 'any' : one.operation}"
                        >
                          take back
                        </button>
                      </form>
                    </td>`
                  : ''
              }
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

const details = (one: Fault): Html => {
  const kind = kindOf(one);
  const told = [
    kind.startsWith('malformed') ? one.shape : '',
    one.status === undefined ? '' : `status ${one.status}`,
    one.delayMs === undefined ? '' : `${one.delayMs} ms`,
    kind.startsWith('skew') ? `${one.skewMs} ms` : '',
    one.records === undefined ? '' : `${one.records} records`,
    one.retryAfter === undefined ? '' : `Retry-After ${one.retryAfter}`,
  ].filter(Boolean);
  return told.length ? html`<br /><span class="quiet">${told.join(', ')}</span>` : html``;
};

function struck(one: Fault, isArmed: boolean): Html {
  const looked = Object.values(one.seen).reduce((sum, n) => sum + n, 0);
  const last = one.strikes.slice(-SHOWN_STRIKES).map(({ operation, call }) => `${operation} no. ${call}`);
  const left = isArmed ? html`, ${one.remaining === null ? 'without end' : `${one.remaining} left`}` : '';
  return html`${one.struck} of ${looked}${left}${last.length ? html`<br /><span class="quiet">${last.join(', ')}</span>` : ''}`;
}

const clearForm = (): Html => html`<form method="post" action="/storefront/faults/clear"><button>take all back</button></form>`;
