import type { Landing } from '../azure/desk.js';
import type { BilledItem } from '../shared/billed.js';
import { html, Html } from './html.js';

const CSS = `
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 18%,transparent);--soft:color-mix(in srgb,currentColor 6%,transparent);--accent:#0b62c4}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:68rem;padding:1.5rem}
header{display:flex;flex-wrap:wrap;gap:.75rem 2rem;align-items:baseline;justify-content:space-between;border-bottom:1px solid var(--line);padding-bottom:.75rem}
h1{font-size:1.3rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .6rem}h3{font-size:1rem;margin:1rem 0 .4rem}
form{display:inline-flex;flex-wrap:wrap;gap:.4rem;align-items:center;margin:0}
form.sheet{display:grid;grid-template-columns:9rem minmax(0,24rem);gap:.5rem;margin-bottom:1.25rem}
td form,td button{margin-block:.15rem}.state{white-space:nowrap}td code{overflow-wrap:anywhere}
button,.button,select,input{font:inherit;padding:.3rem .65rem;border:1px solid var(--line);border-radius:.4rem;background:var(--soft);color:inherit}
button,.button{cursor:pointer;text-decoration:none}.main{background:var(--accent);border-color:var(--accent);color:#fff}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid var(--line);padding:.4rem .5rem;text-align:left;vertical-align:top}th{font-weight:600}
td.number{text-align:right;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}code{font-size:.85em}
.note{background:var(--soft);border-left:3px solid var(--accent);padding:.7rem 1rem;margin:1rem 0}.quiet{opacity:.7}form.sheet small{grid-column:2}.options{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem}:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
@media(max-width:46rem){form.sheet{grid-template-columns:minmax(0,1fr)}form.sheet label{margin-top:.3rem}form.sheet>span:empty{display:none}form.sheet small{grid-column:1}
table.rows,table.rows tbody,table.rows tr,table.rows td{display:block}table.rows thead{display:none}
table.rows tr{border:1px solid var(--line);border-radius:.4rem;padding:.4rem .6rem;margin-bottom:.75rem}table.rows td{border:0;padding:.2rem 0}}`;

export function page(title: string, body: Html, refreshSeconds?: number): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        ${refreshSeconds ? html`<meta http-equiv="refresh" content="${refreshSeconds};url=/" />` : ''}
        <title>${title}</title>
        <style>
          ${new Html(CSS)}
        </style>
      </head>
      <body>
        ${body}
      </body>
    </html>`.text;
}

export interface HomeView {
  billed: BilledItem[];
  now: Date;
  advancing: boolean;
  armedFaults: number;
  /** A section of each marketplace that is played. */
  marketplaces: (Html | undefined)[];
}

export function homePage(view: HomeView): string {
  return page(
    'Marketplace sandbox',
    html`${clockHeader(view)}
      <main>
        ${view.marketplaces}
        <h2>Accepted usage, to be billed</h2>
        ${view.billed.length ? billedTable(view.billed) : html`<p class="quiet">No usage has been accepted yet.</p>`}
      </main>`,
    view.advancing ? 2 : undefined,
  );
}

function clockHeader(view: HomeView): Html {
  const steps: [string, number][] = [
    ['1 h', 3600],
    ['3 h', 10_800],
    ['1 day', 86_400],
  ];
  return html`<header>
    <h1>Marketplace sandbox</h1>
    <a href="/faults">faults${view.armedFaults ? ` (${view.armedFaults} armed)` : ''}</a>
    <div>
      <time datetime="${view.now.toISOString()}">${view.now.toISOString().slice(0, 19).replace('T', ' ')} UTC</time>
      ${view.advancing ? html`<strong>moving on …</strong>` : steps.map(([label, seconds]) => html` <form method="post" action="/storefront/clock"><input type="hidden" name="seconds" value="${seconds}" /><button>advance ${label}</button></form>`)}
    </div>
  </header>`;
}

function billedTable(items: BilledItem[]): Html {
  return html`<div class="wide">
    <table>
      <thead>
        <tr>
          <th>Hour (UTC)</th>
          <th>Subscription</th>
          <th>Plan</th>
          <th>Dimension</th>
          <th>Quantity</th>
          <th>Receipt</th>
        </tr>
      </thead>
      <tbody>
        ${items.map(
          (item) =>
            html`<tr>
              <td>${item.hour.slice(0, 16).replace('T', ' ')}</td>
              <td><code>${item.externalId}</code></td>
              <td>${item.planId}</td>
              <td>${item.dimension}</td>
              <td class="number">${item.quantity}</td>
              <td><code>${item.receipt}</code></td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

export function landingPage(landing: Landing, bought: boolean): string {
  return page(
    'Configure account',
    html`<header>
        <h1>Marketplace sandbox</h1>
        <a href="/">back to the shop</a>
      </header>
      <main>
        <h2>${bought ? 'Thank you for your purchase' : 'Manage your subscription'}</h2>
        <p>Subscription <code>${landing.subscriptionId}</code></p>
        <p class="note">
          The publisher's page opens next. Its link is good until ${landing.tokenExpiresAt.slice(0, 19).replace('T', ' ')} UTC.
        </p>
        <p>
          <a class="button main" href="${landing.landingUrl}" rel="noreferrer">${bought ? 'Configure account' : 'Open the account page'}</a>
        </p>
      </main>`,
  );
}

export function messagePage(message: string): string {
  return page(
    'Not done',
    html`<header>
        <h1>Marketplace sandbox</h1>
        <a href="/">back to the shop</a>
      </header>
      <p class="note" role="alert">${message}</p>`,
  );
}
