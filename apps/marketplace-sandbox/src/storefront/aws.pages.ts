import type { AwsAgreement, RegistrationForm } from '../aws/types.js';
import type { AwsSettings } from '../aws/settings.js';
import { html, type Html, rowsTable } from './html.js';
import { page } from './pages.js';

/** The part of the home page that plays the buyer's side of AWS Marketplace. */
export function awsSection(settings: AwsSettings, agreements: AwsAgreement[]): Html | undefined {
  if (settings.products.length === 0) return undefined;
  return html`<h2>AWS Marketplace</h2>
    ${settings.products.map((product) => buyForm(settings, product))}
    ${agreements.length ? agreementsTable(agreements) : html`<p class="quiet">No agreement yet.</p>`}`;
}

function buyForm(settings: AwsSettings, product: AwsSettings['products'][number]): Html {
  const field = (name: string): string => `aws-${name}-${product.code}`;
  return html`<form class="sheet" method="post" action="/storefront/aws/purchases">
    <input type="hidden" name="productCode" value="${product.code}" /> <strong>Product</strong
    ><span>${product.title} <span class="quiet">pay as you go</span></span> <label for="${field('buyer')}">Buyer</label
    ><select id="${field('buyer')}" name="buyerAccountId">
      ${settings.buyers.map((buyer) => html`<option value="${buyer.accountId}">${buyer.name} (${buyer.accountId})</option>`)}
    </select>
    <label for="${field('seller')}">Sold by</label
    ><select id="${field('seller')}" name="resellerAccountId">
      <option value="">${settings.sellerName}</option>
      ${settings.resellers.map((one) => html`<option value="${one.accountId}">${one.name}, a reseller (${one.accountId})</option>`)}
    </select>
    <label for="${field('order')}">Arrives first</label
    ><select id="${field('order')}" name="order">
      <option value="licence_first">the licence event</option>
      <option value="landing_first">the landing</option>
    </select>
    <label for="${field('starts')}">Starts</label>${startsIn(field('starts'))} <span></span
    ><span><button class="main">Subscribe</button></span>
  </form>`;
}

/** An agreement may be signed today and start later (contract aws §7). */
const startsIn = (id: string): Html =>
  html`<select id="${id}" name="startsIn" aria-label="Starts">
    <option value="0">now</option>
    <option value="1">in an hour</option>
    <option value="24">in a day</option>
  </select>`;

/** A renewal or replacement with a licence of its own; AWS promises no order of the events (contract aws §0.5, §4.3). */
const successorForm = (one: AwsAgreement, action: 'renew' | 'replace'): Html =>
  html`<form method="post" action="/storefront/aws/agreements/${one.id}/${action}">
    <button>${action}</button>${startsIn(`${action}-starts-${one.id}`)}<select name="order" aria-label="Order of the events">
      <option value="documented">as documented</option>
      <option value="licence_first">licence before agreement</option>
      <option value="old_first">the old one ends first</option>
    </select>
  </form> `;

function agreementsTable(agreements: AwsAgreement[]): Html {
  return rowsTable(
    ['Agreement', 'Buyer account', 'State', "Buyer's actions"],
    agreements.map(
      (one) =>
        html`<tr>
          <td><code>${one.id}</code><br /><code class="quiet">${one.licenseId}</code></td>
          <td>
            ${one.buyerAccountId}${one.resaleAuthorizationId === null ? '' : html`<br /><span class="quiet">resold by ${one.proposerAccountId}</span>`}
          </td>
          <td class="state">
            ${one.status}<br /><span class="quiet"
              >${one.licensedAt === null ? 'not licensed yet' : `from ${one.startsAt.slice(0, 10)}`}</span
            >
          </td>
          <td>${actions(one)}</td>
        </tr>`,
    ),
  );
}

function actions(one: AwsAgreement): Html {
  const button = (action: string, label: string): Html =>
    html`<form method="post" action="/storefront/aws/agreements/${one.id}/${action}"><button>${label}</button></form> `;
  const isActive = one.status === 'ACTIVE';
  return html`${button('register', 'Set up your account')}${isActive && one.licensedAt === null ? button('license', 'license now') : ''}${isActive ? [successorForm(one, 'renew'), successorForm(one, 'replace'), button('cancel', 'cancel'), button('expire', 'expire'), button('advisory', 'advisory')] : ''}`;
}

/** A cross-site form POST, as the buyer's browser sends it (contract aws §2). */
export function registrationPage(form: RegistrationForm, agreementId: string): string {
  return page(
    'Set up your account',
    html`<header>
        <h1>Marketplace sandbox</h1>
        <a href="/">back to the shop</a>
      </header>
      <main>
        <h2>You have subscribed</h2>
        <p>Agreement <code>${agreementId}</code></p>
        <p class="note">The seller's registration page opens next, by a form that carries a registration token.</p>
        <form method="post" action="${form.url}">
          ${Object.entries(form.fields).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`)}<button
            class="main"
          >
            Set up your account
          </button>
        </form>
      </main>`,
  );
}
