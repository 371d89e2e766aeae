import type { AzureSettings } from '../azure/settings.js';
import type { AzureSubscription, ManagedApp } from '../azure/types.js';
import { html, type Html, rowsTable } from './html.js';

export interface AzureView {
  settings: AzureSettings;
  subscriptions: AzureSubscription[];
  managedApps: ManagedApp[];
}

/** The part of the home page that plays the buyer's side of Azure Marketplace. */
export function azureSection(view: AzureView): Html {
  return html`<h2>Azure Marketplace</h2>
    ${view.settings.offers.map((offer) => buyForm(view.settings, offer))}
    ${view.subscriptions.length ? purchases(view) : html`<p class="quiet">No subscription yet.</p>`} ${managedSection(view)}`;
}

const option = (name: string, label: string, help: string): Html =>
  html`<label title="${help}"><input type="checkbox" name="${name}" value="yes" /> ${label}</label>`;

function buyForm(settings: AzureSettings, offer: AzureSettings['offers'][number]): Html {
  const perSeat = offer.plans.some((plan) => plan.isPricePerSeat);
  const field = (name: string): string => `${name}-${offer.id}`;
  return html`<form class="sheet" method="post" action="/storefront/purchases">
    <input type="hidden" name="offerId" value="${offer.id}" /> <strong>Offer</strong
    ><span>${offer.displayName} <span class="quiet">by ${offer.publisherId}</span></span> <label for="${field('plan')}">Plan</label
    ><select id="${field('plan')}" name="planId">
      ${offer.plans.map((plan) => html`<option value="${plan.id}">${plan.displayName}: ${plan.price} ${plan.currency} per ${plan.termUnit === 'P1M' ? 'month' : 'term'}${plan.isPricePerSeat ? ' and seat' : ''}${plan.privateOfferIds.length ? ` (private offer ${plan.privateOfferIds.join(', ')})` : ''}</option>`)}
    </select>
    ${perSeat ? html`<label for="${field('quantity')}">Seats</label><input id="${field('quantity')}" name="quantity" type="number" min="1" value="1" />` : ''}
    <label for="${field('buyer')}">Buyer</label
    ><select id="${field('buyer')}" name="buyer">
      ${settings.buyers.map((buyer, index) => html`<option value="${index}">${buyer.name}</option>`)}
    </select>
    <span>How</span
    ><span class="options"
      >${option('autoActivate', 'in force at once', 'Microsoft activates it; billing starts at the purchase')}${option('endsAfterTerm', 'without renewal', 'it ends with its term')}${
        offer.plans.some((plan) => plan.hasFreeTrials) ? option('isFreeTrial', 'as a free trial', 'of plans that have one') : ''
      }${option('isTest', 'as a preview', "the publisher's own test, never billed")}</span
    >
    <label for="${field('name')}">Name</label
    ><input id="${field('name')}" name="subscriptionName" placeholder="My subscription" maxlength="100" /> <span></span
    ><span><button class="main">Buy</button></span>
  </form>`;
}

function purchases(view: AzureView): Html {
  return rowsTable(
    ['Subscription', 'Plan', 'State', "Buyer's actions"],
    view.subscriptions.map(
      (one) =>
        html`<tr>
          <td>
            ${one.name}<br /><code>${one.id}</code
            >${one.isCsp ? html`<br /><span class="quiet">through ${one.purchaser.emailId}</span>` : ''}
          </td>
          <td>${one.planId}${one.quantity === null ? '' : ` × ${one.quantity}`}</td>
          <td class="state">
            ${one.status}<br /><span class="quiet"
              >to
              ${one.term.endDate.slice(0, 10)}${one.autoRenew ? '' : ', not renewed'}${one.isFreeTrial ? ', free trial' : ''}${one.isTest ? ', preview' : ''}</span
            >
          </td>
          <td>${actions(view.settings, one)}</td>
        </tr>`,
    ),
  );
}

function actions(settings: AzureSettings, one: AzureSubscription): Html {
  const plans = settings.offers.find((offer) => offer.id === one.offerId)?.plans ?? [];
  const to = (action: string): string => `/storefront/subscriptions/${one.id}/${action}`;
  const button = (action: string, label: string): Html =>
    html`<form method="post" action="${to(action)}"><button>${label}</button></form> `;
  const isSubscribed = one.status === 'Subscribed';
  const isLive = isSubscribed || one.status === 'Suspended' || one.status === 'PendingFulfillmentStart';
  const others = plans.filter((plan) => plan.id !== one.planId);
  return html`${button('manage', one.status === 'PendingFulfillmentStart' ? 'Configure account' : 'Manage account')}
  ${
    isSubscribed && others.length
      ? html`<form method="post" action="${to('change-plan')}">
          <select name="planId" aria-label="New plan">
            ${others.map((plan) => html`<option value="${plan.id}">${plan.displayName}</option>`)}</select
          ><button>change plan</button>
        </form> `
      : ''
  }
  ${isSubscribed && one.quantity !== null ? html`<form method="post" action="${to('change-quantity')}"><input name="quantity" type="number" min="1" value="${one.quantity}" aria-label="New quantity" /><button>change quantity</button></form> ` : ''}
  ${isSubscribed ? html`${button('renew', 'renew')}${button('suspend', 'suspend')}` : ''}${one.status === 'Suspended' ? button('reinstate', 'reinstate') : ''}${isLive ? button('unsubscribe', 'unsubscribe') : ''}`;
}

/** Deployed by the buyer into his own directory; told by notifications, without a landing page (contract azure §7). */
function managedSection({ settings, managedApps }: AzureView): Html {
  const plans = settings.offers.flatMap((offer) => offer.plans.map((plan) => ({ offer, plan })));
  return html`<h3>Managed applications</h3>
    ${
      settings.managedApps.endpoint
        ? html`<form class="sheet" method="post" action="/storefront/managed-applications">
            <label for="managed-plan">Offer and plan</label
            ><select id="managed-plan" name="plan">
              ${plans.map(({ offer, plan }) => html`<option value="${offer.id}/${plan.id}">${offer.displayName}: ${plan.displayName}</option>`)}
            </select>
            <label for="managed-outcome">Deployment</label
            ><select id="managed-outcome" name="outcome">
              <option value="succeeded">succeeds</option>
              <option value="failed">fails</option>
            </select>
            <span></span><span><button>Deploy</button></span>
          </form>`
        : html`<p class="quiet">The settings name no endpoint for their notifications (azure.managedApps.endpoint).</p>`
    }
    ${managedApps.length ? managedTable(settings, managedApps) : ''}`;
}

function managedTable(settings: AzureSettings, apps: ManagedApp[]): Html {
  return rowsTable(
    ['Application', 'Plan', 'State', "Buyer's actions"],
    apps.map(
      (app) =>
        html`<tr>
          <td>${app.applicationId.split('/').at(-1)}<br /><code>${app.resourceUsageId}</code></td>
          <td>${app.planId}</td>
          <td class="state">${app.provisioningState}</td>
          <td>${app.deletedAt ? '' : managedActions(settings, app)}</td>
        </tr>`,
    ),
  );
}

function managedActions(settings: AzureSettings, app: ManagedApp): Html {
  const to = (action: string): string => `/storefront/managed-applications/${app.resourceUsageId}/${action}`;
  const button = (action: string, label: string): Html =>
    html`<form method="post" action="${to(action)}"><button>${label}</button></form> `;
  const others = (settings.offers.find((offer) => offer.id === app.offerId)?.plans ?? []).filter((plan) => plan.id !== app.planId);
  return html`${
    others.length
      ? html`<form method="post" action="${to('update')}">
          <select name="planId" aria-label="New plan">
            ${others.map((plan) => html`<option value="${plan.id}">${plan.displayName}</option>`)}</select
          ><button>change plan</button>
        </form> `
      : ''
  }${button('redeploy', 'deploy again')}${button('delete', 'delete')}${button('fail-delete', 'delete, which fails')}`;
}
