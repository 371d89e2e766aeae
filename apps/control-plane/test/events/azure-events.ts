import { randomUUID } from 'node:crypto';
import type { MarketplaceAdapter, MarketplaceState, SubscriptionTruth } from '#marketplaces/core';
import { createAzureAdapter } from '#marketplaces/azure';
import type { ManualClock } from '#platform/testing';
import type { EventCase } from './event-table.js';

type Json = Record<string, unknown>;
interface Told {
  action: string;
  status?: string;
  /** Get Operation: its status; null where there is no such operation. */
  operation?: string | null;
  /** Get Subscription; null where there is none. */
  reads: Json | null;
  more?: Json;
}
/** A notification of a managed application (contract azure §7), with what ARM shows of it then; null where it is gone. */
interface ManagedTold {
  managed: `${'PUT' | 'PATCH' | 'DELETE'} ${string}`;
  reads: { state: string; planId?: string } | null;
  /** It names another application than the purchase is. */
  isAstray?: boolean;
  /** Of the customer's own catalog: nothing is sold. */
  isCatalog?: boolean;
}
const PREMIUM = { planId: 'premium' };
const SUBSCRIBED = { saasSubscriptionStatus: 'Subscribed' };
const SUSPENDED = { saasSubscriptionStatus: 'Suspended' };
const UNSUBSCRIBED = { saasSubscriptionStatus: 'Unsubscribed' };
const NEXT_TERM = { term: { startDate: '2030-05-02T00:00:00Z', endDate: '2030-06-01T00:00:00Z', termUnit: 'P1M' } };

/** Every action of contract azure §4, with what Get Operation and Get Subscription then answer; unknown and overtaken ones too. */
export const AZURE_TOLD: Record<string, Told | ManagedTold> = {
  'Subscribe; reads Subscribed': { action: 'Subscribe', reads: SUBSCRIBED },
  'ChangePlan InProgress; still the old plan': { action: 'ChangePlan', status: 'InProgress', reads: SUBSCRIBED, more: PREMIUM },
  'ChangePlan InProgress; to the plan in force': {
    action: 'ChangePlan',
    status: 'InProgress',
    reads: SUBSCRIBED,
    more: { planId: 'standard' },
  },
  'ChangePlan InProgress; to a plan not offered': {
    action: 'ChangePlan',
    status: 'InProgress',
    reads: SUBSCRIBED,
    more: { planId: 'none-such' },
  },
  'ChangePlan Succeeded; the new plan': { action: 'ChangePlan', reads: { ...SUBSCRIBED, ...PREMIUM }, more: PREMIUM },
  'ChangePlan Succeeded, by us; the new plan': {
    action: 'ChangePlan',
    reads: { ...SUBSCRIBED, ...PREMIUM },
    more: { ...PREMIUM, operationRequestSource: 'Partner' },
  },
  'ChangePlan Succeeded; a plan not in the catalog': {
    action: 'ChangePlan',
    reads: { ...SUBSCRIBED, planId: 'none-such' },
    more: { planId: 'none-such' },
  },
  'ChangePlan Failed; the old plan': { action: 'ChangePlan', status: 'Failed', reads: SUBSCRIBED, more: PREMIUM },
  'ChangePlan; no such operation': { action: 'ChangePlan', status: 'InProgress', operation: null, reads: SUBSCRIBED, more: PREMIUM },
  'ChangeQuantity InProgress; still the old number': {
    action: 'ChangeQuantity',
    status: 'InProgress',
    reads: SUBSCRIBED,
    more: { quantity: 5 },
  },
  'ChangeQuantity Succeeded; the new number': { action: 'ChangeQuantity', reads: { ...SUBSCRIBED, quantity: 5 }, more: { quantity: 5 } },
  'Renew; the next term': { action: 'Renew', reads: { ...SUBSCRIBED, ...NEXT_TERM } },
  'Suspend; reads Suspended': { action: 'Suspend', reads: SUSPENDED },
  'Suspend; reads Subscribed, overtaken': { action: 'Suspend', reads: SUBSCRIBED },
  'Reinstate; reads Subscribed': { action: 'Reinstate', reads: SUBSCRIBED },
  'Reinstate Failed; reads Suspended': { action: 'Reinstate', status: 'Failed', reads: SUSPENDED },
  'Unsubscribe; reads Unsubscribed': { action: 'Unsubscribe', reads: UNSUBSCRIBED },
  'Unsubscribe, no operation; reads Unsubscribed': { action: 'Unsubscribe', operation: null, reads: UNSUBSCRIBED },
  'Unsubscribe; reads Subscribed, overtaken': { action: 'Unsubscribe', reads: SUBSCRIBED },
  'Unsubscribe; no such subscription any more': { action: 'Unsubscribe', reads: null },
  'Transfer (not documented); reads Subscribed': { action: 'Transfer', operation: null, reads: SUBSCRIBED },
  'an unknown action; reads Subscribed': { action: 'Teleport', operation: null, reads: SUBSCRIBED },
  'an unknown action; reads Unsubscribed': { action: 'Teleport', operation: null, reads: UNSUBSCRIBED },
  'managed PUT Accepted; shows Accepted': { managed: 'PUT Accepted', reads: { state: 'Accepted' } },
  'managed PUT Accepted; shows Succeeded by now': { managed: 'PUT Accepted', reads: { state: 'Succeeded' } },
  'managed PUT Succeeded; shows Succeeded': { managed: 'PUT Succeeded', reads: { state: 'Succeeded' } },
  'managed PUT Succeeded; not shown': { managed: 'PUT Succeeded', reads: null },
  'managed PUT Failed; shows Failed': { managed: 'PUT Failed', reads: { state: 'Failed' } },
  'managed PATCH Succeeded; shows another plan': { managed: 'PATCH Succeeded', reads: { state: 'Succeeded', planId: 'premium' } },
  'managed DELETE Deleting; shows Deleting': { managed: 'DELETE Deleting', reads: { state: 'Deleting' } },
  'managed DELETE Deleting; gone by now': { managed: 'DELETE Deleting', reads: null },
  'managed DELETE Deleted; gone': { managed: 'DELETE Deleted', reads: null },
  'managed DELETE Deleted; still there': { managed: 'DELETE Deleted', reads: { state: 'Succeeded' } },
  'managed DELETE Failed; shows Failed': { managed: 'DELETE Failed', reads: { state: 'Failed' } },
  'managed PUT Succeeded; names another application': { managed: 'PUT Succeeded', reads: { state: 'Succeeded' }, isAstray: true },
  'managed PUT Succeeded; of a service catalog': { managed: 'PUT Succeeded', reads: { state: 'Succeeded' }, isCatalog: true },
};

/** The real adapter, whose HTTP answers are written down here. */
export class AzureAnswers {
  private readonly answers = new Map<string, Json | null>();
  readonly adapter: MarketplaceAdapter;

  constructor(private readonly clock: ManualClock) {
    this.adapter = createAzureAdapter(
      {
        apiUrl: 'http://azure.invalid/api',
        authorityUrl: 'http://login.invalid',
        tenantId: '7b1d2c54-3a0e-4f6b-9c11-5f0e8a4d2b90',
        clientId: 'c2a5e0f3-64b7-4d19-8e2a-1b9f7c3d5a68',
        clientSecret: 'invented',
        armUrl: 'http://arm.invalid',
      },
      {
        clock,
        http: {
          request: async ({ url }) => {
            const { host, pathname } = new URL(url);
            if (host === 'arm.invalid') return shown(this.answers.get(pathname));
            if (host === 'login.invalid') return json({ token_type: 'Bearer', expires_in: 3600, access_token: 'an.invented.token' });
            const found = this.answers.get(pathname.replace('/api/saas/subscriptions/', ''));
            return shown(found);
          },
        },
      },
    );
  }

  purchase(name: string): EventCase & { externalId: string } {
    const told = AZURE_TOLD[name]!;
    if ('managed' in told) return this.managed(told);
    const [id, operationId] = [randomUUID(), randomUUID()];
    return {
      externalId: id,
      truth: (state) => truthOf(id, state, this.clock.now()),
      message: () => {
        const at = this.clock.now().toISOString();
        const { action, status = 'Succeeded', operation, reads, more } = told;
        const body = {
          id: operationId,
          activityId: operationId,
          subscriptionId: id,
          offerId: 'object-cells',
          timeStamp: at,
          action,
          status,
          ...more,
        };
        if (operation !== null) this.answers.set(`${id}/operations/${operationId}`, body);
        if (reads)
          this.answers.set(id, {
            id,
            name: 'Tide archive',
            publisherId: 'harbor-storage',
            offerId: 'object-cells',
            planId: 'standard',
            quantity: null,
            term: { startDate: '2030-04-02T00:00:00Z', endDate: '2030-05-01T00:00:00Z', termUnit: 'P1M' },
            autoRenew: true,
            allowedCustomerOperations: ['Read', 'Update', 'Delete'],
            lastModified: at,
            ...reads,
          });
        return { source: 'azure.webhook', naturalKey: operationId, headers: {}, body: JSON.stringify(body), receivedAt: this.clock.now() };
      },
    };
  }

  private managed({ managed, reads, isAstray, isCatalog }: ManagedTold): EventCase & { externalId: string } {
    const id = randomUUID();
    const address = (name: string): string =>
      `/subscriptions/${id}/resourceGroups/${name}-rg/providers/Microsoft.Solutions/applications/${name}`;
    const [own, other] = [address('archive'), address('another')];
    return {
      externalId: id,
      truth: (state) => ({
        ...truthOf(id, state, this.clock.now()),
        term: { unit: null, startsAt: null, endsAt: null },
        refs: { applicationId: own, deployed: state === 'active' || state === 'suspended' },
        version: null,
      }),
      message: () => {
        const [eventType, provisioningState] = managed.split(' ');
        const plan = { publisher: 'harbor-storage', product: 'object-cells', name: reads?.planId ?? 'standard', version: '1.0.1' };
        const sold = isCatalog ? {} : { billingDetails: { resourceUsageId: id } };
        for (const applicationId of [own, other])
          this.answers.set(
            applicationId,
            reads && { id: applicationId, name: 'archive', plan, properties: { provisioningState: reads.state, ...sold } },
          );
        const body = {
          eventType,
          applicationId: isAstray ? other : own,
          eventTime: this.clock.now().toISOString(),
          provisioningState,
          ...(isCatalog ? { applicationDefinitionId: 'd' } : { ...sold, plan }),
        };
        const text = JSON.stringify(body);
        return { source: 'azure.managed_app', naturalKey: `sha256:${id}`, headers: {}, body: text, receivedAt: this.clock.now() };
      },
    };
  }
}

const shown = (found: Json | null | undefined): ReturnType<typeof json> =>
  found ? json(found) : json({ code: 'EntityNotFound', message: 'there is none' }, 404);

export const json = (body: unknown, status = 200): { status: number; headers: Record<string, string>; text: string } => ({
  status,
  headers: { 'content-type': 'application/json' },
  text: JSON.stringify(body),
});

function truthOf(id: string, state: MarketplaceState, at: Date): SubscriptionTruth {
  return {
    marketplace: 'azure',
    externalSubscriptionId: id,
    aliases: [],
    state,
    name: 'Tide archive',
    externalOfferId: 'object-cells',
    externalPlanId: 'standard',
    quantity: null,
    term: { unit: 'P1M', startsAt: new Date('2030-04-02T00:00:00Z'), endsAt: new Date('2030-05-02T00:00:00Z') },
    endsAt: null,
    purchaser: null,
    beneficiary: null,
    readOnly: false,
    isTest: false,
    isFreeTrial: false,
    supersedes: null,
    refs: {},
    observedAt: at,
    version: at.toISOString(),
  };
}
