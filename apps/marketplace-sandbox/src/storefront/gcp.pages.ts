import type { GcpDesk } from '../gcp/desk.js';
import { priceOf } from '../gcp/offers.js';
import type { GcpSettings } from '../gcp/settings.js';
import type { SignUpForm } from '../gcp/sign-up.js';
import type { GcpEntitlement } from '../gcp/types.js';
import { html, type Html, rowsTable } from './html.js';
import { page } from './pages.js';

/** The part of the home page that plays the buyer's side of Google Cloud Marketplace. */
export function gcpSection(settings: GcpSettings | undefined, desk: GcpDesk): Html | undefined {
  if (!settings) return undefined;
  const newestFirst = desk.list().sort((a, b) => (a.createTime < b.createTime ? 1 : -1));
  return html`<h2>Google Cloud Marketplace</h2>
    <form class="sheet" method="post" action="/storefront/gcp/purchases">
      <strong>Product</strong><span>${settings.displayName} <span class="quiet">${settings.product}</span></span>
      <label for="gcp-plan">Plan</label
      ><select id="gcp-plan" name="planId">
        ${settings.plans.map((plan) => html`<option value="${plan.id}">${plan.displayName}: ${plan.price} USD per month</option>`)}
      </select>
      <label for="gcp-buyer">Buyer</label
      ><select id="gcp-buyer" name="buyer">
        ${settings.buyers.map((buyer) => html`<option value="${buyer.name}">${buyer.name}</option>`)}
        <option value="">a new buyer</option>
      </select>
      <label for="gcp-price">Private offer</label
      ><span
        ><input
          id="gcp-price"
          name="price"
          inputmode="decimal"
          pattern="[0-9]+(\\.[0-9]+)?"
          size="8"
          placeholder="USD a month"
          aria-describedby="gcp-price-help"
        />
        ${afterEnd('gcp-after')} <small id="gcp-price-help" class="quiet">Empty: the list price.</small></span
      >
      <label for="gcp-order">Arrives first</label
      ><select id="gcp-order" name="order">
        <option value="notification_first">the notification</option>
        <option value="landing_first">the sign-up</option>
      </select>
      <span></span><span><button class="main">Subscribe</button></span>
    </form>
    ${newestFirst.length ? table(settings, desk, newestFirst) : html`<p class="quiet">No entitlement yet.</p>`}`;
}

function table(settings: GcpSettings, desk: GcpDesk, entitlements: GcpEntitlement[]): Html {
  return rowsTable(
    ['Entitlement', 'Plan', 'State', "Buyer's actions"],
    entitlements.map(
      (one) =>
        html`<tr>
          <td>
            ${desk.buyerOf(one)}<br /><code>${one.id}</code
            >${desk.resellerOf(one) ? html`<br /><span class="quiet">through ${desk.resellerOf(one)}</span>` : ''}
          </td>
          <td>
            ${one.plan}${one.newPendingPlan === null ? '' : ` → ${one.newPendingPlan}`}<br /><span class="quiet"
              >${priceText(settings, one)}</span
            >
          </td>
          <td>
            ${one.state.replace('ENTITLEMENT_', '')}${one.messageToUser ? html`<br /><span class="quiet">${one.messageToUser}</span>` : ''}${
              one.billingDisabledAt ? html`<br /><span class="quiet">billing disabled</span>` : ''
            }
          </td>
          <td>${actions(settings, one)}</td>
        </tr>`,
    ),
  );
}

/** What comes when a private offer is over (contract gcp §5). */
const afterEnd = (id: string): Html =>
  html`<select id="${id}" name="afterEnd" aria-label="After its end">
    <option value="list_price">then list price</option>
    <option value="renew">renewed</option>
    <option value="cancel">then cancelled</option>
  </select>`;

function priceText(settings: GcpSettings, one: GcpEntitlement): string {
  const { amount, of } = priceOf(one, settings);
  const next = one.pendingOffer?.terms.price;
  return `${amount} USD, ${of === 'list' ? 'list price' : 'private offer'}${next ? ` → ${next} USD` : ''}`;
}

function actions(settings: GcpSettings, one: GcpEntitlement): Html {
  const to = (action: string): string => `/storefront/gcp/entitlements/${one.id}/${action}`;
  const button = (action: string, label: string): Html =>
    html`<form method="post" action="${to(action)}"><button>${label}</button></form> `;
  const state = one.state.replace('ENTITLEMENT_', '');
  const others = settings.plans.filter((plan) => plan.id !== one.plan);
  const change = html`<form method="post" action="${to('change-plan')}">
    <select name="planId" aria-label="New plan">
      ${others.map((plan) => html`<option value="${plan.id}">${plan.displayName}</option>`)}</select
    ><button>change plan</button>
  </form> `;
  const replace = html`<form method="post" action="${to('replace-offer')}">
    <input
      name="price"
      inputmode="decimal"
      pattern="[0-9]+(\\.[0-9]+)?"
      size="6"
      required
      placeholder="USD"
      aria-label="Price of the new offer"
    />${afterEnd(`gcp-after-${one.id}`)}<button>replace the offer</button>
  </form> `;
  const isAsked = state === 'ACTIVATION_REQUESTED' || state === 'PENDING_PLAN_CHANGE_APPROVAL';
  const canEnd = state === 'ACTIVE' && one.privateTerms && !one.offerEndedAt;
  return html`${state === 'ACTIVE' ? replace : ''}${canEnd ? button('end-offer', 'end the offer') : ''}${isAsked && !(state === 'ACTIVATION_REQUESTED' && one.approvedAt) ? button('portal', 'approve in the portal') : ''}${state === 'CANCELLED' ? '' : button('sign-up', `Register with ${settings.displayName}`)}${state === 'ACTIVE' && others.length ? change : ''}${state === 'ACTIVE' ? [button('cancel', 'cancel at term end'), button('renew', 'renew')] : ''}${state === 'PENDING_CANCELLATION' ? button('revert-cancel', 'keep it') : ''}${state.startsWith('PENDING_PLAN') ? button('cancel-plan-change', 'keep the plan') : ''}${state === 'CANCELLED' ? button('delete', 'purge') : button('cancel-now', 'cancel now')}${state === 'CANCELLED' ? '' : one.billingDisabledAt ? button('billing-enable', 'enable billing') : button('billing-disable', 'disable billing')}`;
}

/** A cross-site form POST, as the buyer's browser sends it (contract gcp §1). */
export function signUpPage(seller: string, form: SignUpForm, entitlementId: string): string {
  return page(
    'Register',
    html`<header>
        <h1>Marketplace sandbox</h1>
        <a href="/">back to the shop</a>
      </header>
      <main>
        <h2>Your order</h2>
        <p>Entitlement <code>${entitlementId}</code></p>
        <p class="note">The seller's sign-up page opens next, by a form that carries a token. It is good for five minutes.</p>
        <form method="post" action="${form.url}">
          ${Object.entries(form.fields).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`)}<button
            class="main"
          >
            Register with ${seller}
          </button>
        </form>
      </main>`,
  );
}
