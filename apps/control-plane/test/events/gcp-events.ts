import { randomUUID } from 'node:crypto';
import type { MarketplaceAdapter, MarketplaceState, SubscriptionTruth } from '#marketplaces/core';
import { createGcpAdapter } from '#marketplaces/gcp';
import type { ManualClock } from '#platform/testing';
import { json } from './azure-events.js';
import type { EventCase } from './event-table.js';

type Json = Record<string, unknown>;
interface Told {
  /** Null: the message has none (contract gcp §3, the documented account sample). */
  eventType: string | null;
  about?: 'account';
  /** What GET of the entitlement then shows; null after its deletion. */
  shows: Json | null;
  /** The account's approval; null where it is deleted. */
  signUp?: 'PENDING' | 'APPROVED' | null;
}
const SERVICE = 'object-cells.endpoints.harbor-storage-public.cloud.goog';
const ACTIVE = { state: 'ENTITLEMENT_ACTIVE' };
const REQUESTED = { state: 'ENTITLEMENT_ACTIVATION_REQUESTED' };
const CANCELLED = { state: 'ENTITLEMENT_CANCELLED' };
const TO_PREMIUM = { state: 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL', newPendingPlan: 'premium' };

/** Every type of contract gcp §3 with the state its table names, and the late or early ones that the state belies. */
export const GCP_TOLD: Record<string, Told> = {
  'ACCOUNT_CREATION_REQUESTED; its entitlement waits': { eventType: 'ACCOUNT_CREATION_REQUESTED', about: 'account', shows: REQUESTED },
  'ACCOUNT_ACTIVE; its entitlement waits': { eventType: 'ACCOUNT_ACTIVE', about: 'account', shows: REQUESTED },
  'ACCOUNT_ACTIVE; its entitlement is active': { eventType: 'ACCOUNT_ACTIVE', about: 'account', shows: ACTIVE, signUp: 'APPROVED' },
  'an account without a type; its entitlement is active': { eventType: null, about: 'account', shows: ACTIVE, signUp: 'APPROVED' },
  'ACCOUNT_DELETED; 404': { eventType: 'ACCOUNT_DELETED', about: 'account', shows: null, signUp: null },
  'ENTITLEMENT_CREATION_REQUESTED; requested': { eventType: 'ENTITLEMENT_CREATION_REQUESTED', shows: REQUESTED },
  'ENTITLEMENT_CREATION_REQUESTED; requested, account approved': {
    eventType: 'ENTITLEMENT_CREATION_REQUESTED',
    shows: REQUESTED,
    signUp: 'APPROVED',
  },
  'ENTITLEMENT_OFFER_ACCEPTED; requested, starts later': {
    eventType: 'ENTITLEMENT_OFFER_ACCEPTED',
    shows: { ...REQUESTED, newOfferStartTime: '2031-01-01T00:00:00Z' },
  },
  'ENTITLEMENT_OFFER_ACCEPTED; active': { eventType: 'ENTITLEMENT_OFFER_ACCEPTED', shows: ACTIVE },
  'ENTITLEMENT_ACTIVE; active': { eventType: 'ENTITLEMENT_ACTIVE', shows: ACTIVE },
  'ENTITLEMENT_ACTIVE; cancelled since': { eventType: 'ENTITLEMENT_ACTIVE', shows: CANCELLED },
  'ENTITLEMENT_PLAN_CHANGE_REQUESTED; waits for us': { eventType: 'ENTITLEMENT_PLAN_CHANGE_REQUESTED', shows: TO_PREMIUM },
  'ENTITLEMENT_PLAN_CHANGE_REQUESTED; same plan, new offer': {
    eventType: 'ENTITLEMENT_PLAN_CHANGE_REQUESTED',
    shows: { ...TO_PREMIUM, newPendingPlan: 'standard' },
  },
  'ENTITLEMENT_PLAN_CHANGE_REQUESTED; answered since': { eventType: 'ENTITLEMENT_PLAN_CHANGE_REQUESTED', shows: ACTIVE },
  'ENTITLEMENT_PLAN_CHANGED; new plan': { eventType: 'ENTITLEMENT_PLAN_CHANGED', shows: { ...ACTIVE, plan: 'premium' } },
  'ENTITLEMENT_PLAN_CHANGED; a plan not in the catalog': { eventType: 'ENTITLEMENT_PLAN_CHANGED', shows: { ...ACTIVE, plan: 'none-such' } },
  'ENTITLEMENT_PLAN_CHANGE_CANCELLED; old plan': { eventType: 'ENTITLEMENT_PLAN_CHANGE_CANCELLED', shows: ACTIVE },
  'ENTITLEMENT_PENDING_CANCELLATION; pending': {
    eventType: 'ENTITLEMENT_PENDING_CANCELLATION',
    shows: { state: 'ENTITLEMENT_PENDING_CANCELLATION' },
  },
  'ENTITLEMENT_CANCELLATION_REVERTED; active': { eventType: 'ENTITLEMENT_CANCELLATION_REVERTED', shows: ACTIVE },
  'ENTITLEMENT_CANCELLING; active': { eventType: 'ENTITLEMENT_CANCELLING', shows: ACTIVE },
  'ENTITLEMENT_CANCELLED; cancelled': { eventType: 'ENTITLEMENT_CANCELLED', shows: CANCELLED },
  'ENTITLEMENT_CANCELLED; active': { eventType: 'ENTITLEMENT_CANCELLED', shows: ACTIVE },
  'ENTITLEMENT_CANCELLED; 404': { eventType: 'ENTITLEMENT_CANCELLED', shows: null },
  'ENTITLEMENT_RENEWED; later end': { eventType: 'ENTITLEMENT_RENEWED', shows: { ...ACTIVE, offerEndTime: '2032-01-01T08:00:00Z' } },
  'ENTITLEMENT_OFFER_ENDED; active at list price': { eventType: 'ENTITLEMENT_OFFER_ENDED', shows: ACTIVE },
  'ENTITLEMENT_OFFER_ENDED; cancelled': { eventType: 'ENTITLEMENT_OFFER_ENDED', shows: CANCELLED },
  'ENTITLEMENT_DELETED; 404': { eventType: 'ENTITLEMENT_DELETED', shows: null },
  'an unknown type; active': { eventType: 'ENTITLEMENT_TELEPORTED', shows: ACTIVE },
  'an unknown type; suspended': { eventType: 'ENTITLEMENT_TELEPORTED', shows: { state: 'ENTITLEMENT_SUSPENDED' } },
};

/** The real adapter, whose HTTP answers are written down here. */
export class GcpAnswers {
  private readonly answers = new Map<string, Json>();
  /** What was asked to be changed, and what a test lets follow from it. */
  readonly posted: string[] = [];
  onPost: (name: string) => void = () => undefined;
  readonly adapter: MarketplaceAdapter;

  constructor(private readonly clock: ManualClock) {
    this.adapter = createGcpAdapter(
      {
        providerId: 'harbor-storage-public',
        projectId: 'harbor-storage-public',
        subscription: 'marketplace',
        serviceName: SERVICE,
        audiences: ['cp.harbor.example'],
        procurementUrl: 'http://procurement.invalid',
        serviceControlUrl: 'http://servicecontrol.invalid',
        serviceManagementUrl: 'http://servicemanagement.invalid',
        signUpKeysUrl: 'http://keys.invalid',
        oidcKeysUrl: 'http://keys.invalid',
        push: null,
        safeResend: true,
        unreadMetricType: null,
        pubsubEndpoint: null,
        anonymous: true,
      },
      {
        clock,
        http: {
          request: async ({ url, method }) => {
            const { pathname, searchParams } = new URL(url);
            const name = pathname.replace('/v1/providers/harbor-storage-public/', '');
            if (name === 'entitlements') {
              const account = /account="([^"]+)"/.exec(searchParams.get('filter') ?? '')?.[1];
              const all = [...this.answers].filter(([known]) => known.startsWith('entitlements/')).map(([, one]) => one);
              return json({ entitlements: all.filter((e) => !account || String(e['account']).endsWith(`/${account}`)) });
            }
            if (name === 'accounts')
              return json({ accounts: [...this.answers].filter(([known]) => known.startsWith('accounts/')).map(([, one]) => one) });
            if (method === 'POST' && /^(entitlements|accounts)\//.test(name)) {
              this.posted.push(name);
              this.onPost(name);
              return json({});
            }
            const all = this.answers.get(name);
            // Who resold it is in the full view only (contract gcp §2).
            const found = all && searchParams.get('view') !== 'ACCOUNT_VIEW_FULL' ? { ...all, resellerParentBillingAccount: '' } : all;
            return found ? json(found) : json({ error: { code: 404, message: 'Not found', status: 'NOT_FOUND' } }, 404);
          },
        },
      },
    );
  }

  /** What a GET of this name answers from now on; null: 404. */
  show(name: string, body: Json | null): void {
    if (body) this.answers.set(name, body);
    else this.answers.delete(name);
  }

  /** An entitlement of an account, updated now. */
  entitle(id: string, account: string, facts: Json): void {
    this.show(`entitlements/${id}`, {
      name: `providers/harbor-storage-public/entitlements/${id}`,
      account: `providers/harbor-storage-public/accounts/${account}`,
      provider: 'harbor-storage-public',
      productExternalName: SERVICE,
      plan: 'standard',
      offerDuration: 'P1Y',
      offerEndTime: '2031-01-01T08:00:00Z',
      usageReportingId: 'project_number:1',
      createTime: '2030-01-01T00:00:00Z',
      updateTime: this.clock.now().toISOString().replace('Z', '001Z'),
      ...facts,
    });
  }

  purchase(name: string): EventCase & { externalId: string } {
    const told = GCP_TOLD[name]!;
    const [id, account] = [randomUUID(), randomUUID()];
    return {
      externalId: id,
      truth: (state) => truthOf(id, account, state, this.clock.now()),
      message: () => {
        const at = this.clock.now().toISOString().replace('Z', '001Z');
        if (told.signUp !== null)
          this.show(`accounts/${account}`, {
            name: `providers/harbor-storage-public/accounts/${account}`,
            state: 'ACCOUNT_ACTIVE',
            approvals: [{ name: 'signup', state: told.signUp ?? 'PENDING' }],
          });
        if (told.shows) this.entitle(id, account, told.shows);
        const body = {
          eventId: randomUUID(),
          ...(told.eventType ? { eventType: told.eventType } : {}),
          providerId: 'harbor-storage-public',
          ...(told.about ? { account: { id: account, updateTime: at } } : { entitlement: { id, updateTime: at } }),
        };
        return { source: 'gcp.pubsub', naturalKey: randomUUID(), headers: {}, body: JSON.stringify(body), receivedAt: this.clock.now() };
      },
    };
  }
}

function truthOf(id: string, accountId: string, state: MarketplaceState, at: Date): SubscriptionTruth {
  const party = { email: null, personId: null, directoryId: null, accountId };
  return {
    marketplace: 'gcp',
    externalSubscriptionId: id,
    aliases: [],
    state,
    name: null,
    externalOfferId: SERVICE,
    externalPlanId: 'standard',
    quantity: null,
    term: { unit: 'P1Y', startsAt: null, endsAt: new Date('2031-01-01T08:00:00Z') },
    endsAt: null,
    purchaser: party,
    beneficiary: party,
    readOnly: false,
    isTest: false,
    isFreeTrial: false,
    supersedes: null,
    refs: { accountId, product: SERVICE },
    observedAt: at,
    version: at.toISOString().replace('Z', '000Z'),
  };
}
