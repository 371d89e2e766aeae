import { toPublicId } from '#platform';
import type { EntitlementRow, QuotaRow, SubscriptionRow } from '#entitlements';
import type { Tenant } from '#tenancy';

/** Rows as the API shows them: camelCase, prefixed ids, instants as UTC text, big numbers as decimal text. */
const at = (d: Date | null): string | null => d?.toISOString() ?? null;

export const tenantView = (t: Tenant): Record<string, unknown> => ({
  id: toPublicId('ten', t.tenantId),
  slug: t.slug,
  displayName: t.displayName,
  region: t.region,
  state: t.state,
  createdAt: at(t.createdAt),
  updatedAt: at(t.updatedAt),
});

export const subscriptionView = (s: SubscriptionRow): Record<string, unknown> => ({
  id: toPublicId('sub', s.subscription_id),
  marketplace: s.marketplace,
  externalSubscriptionId: s.external_subscription_id,
  tenantId: s.tenant_id ? toPublicId('ten', s.tenant_id) : null,
  state: s.state,
  suspendedSource: s.suspended_source,
  name: s.name,
  offerId: s.external_offer_id,
  planId: s.external_plan_id,
  planVersionId: s.plan_version_id,
  quantity: s.quantity,
  term: { startsAt: at(s.term_starts_at), endsAt: at(s.term_ends_at) },
  endsAt: at(s.ends_at),
  endedAt: at(s.ended_at),
  activateBy: at(s.activate_by),
  // Null: not read yet, or the marketplace does not tell.
  privateOffers: s.private_offers,
  acknowledgedAt: at(s.acknowledged_at),
  isTest: s.is_test,
  // A partner who sold it: Azure's CSP by directory, AWS's channel partner by account. Null: nobody, or not told.
  reseller: s.reseller && { accountId: s.reseller.accountId, authorizationId: s.reseller.authorizationId },
  createdAt: at(s.created_at),
  updatedAt: at(s.updated_at),
});

export const entitlementView = (e: EntitlementRow): Record<string, unknown> => ({
  id: toPublicId('ent', e.entitlement_id),
  tenantId: toPublicId('ten', e.tenant_id),
  subscriptionId: toPublicId('sub', e.subscription_id),
  feature: e.feature,
  value: e.value,
  planVersionId: e.plan_version_id,
  startsAt: at(e.starts_at),
  endsAt: at(e.ends_at),
});

export const quotaView = (q: QuotaRow): Record<string, unknown> => ({
  id: toPublicId('quo', q.quota_id),
  tenantId: toPublicId('ten', q.tenant_id),
  subscriptionId: toPublicId('sub', q.subscription_id),
  name: q.name,
  unit: q.unit,
  hardLimit: q.hard_limit,
  planVersionId: q.plan_version_id,
  startsAt: at(q.starts_at),
  endsAt: at(q.ends_at),
});

export interface InboxListRow extends Record<string, unknown> {
  inbox_id: string;
  source: string;
  natural_key: string;
  received_at: Date;
  state: string;
  note: string | null;
  subscription_id: string | null;
  answer: unknown;
  principal: string;
}
export const inboundView = (i: InboxListRow): Record<string, unknown> => ({
  id: toPublicId('inb', i.inbox_id),
  source: i.source,
  naturalKey: i.natural_key,
  receivedAt: at(i.received_at),
  state: i.state,
  note: i.note,
  principal: i.principal,
  subscriptionId: i.subscription_id ? toPublicId('sub', i.subscription_id) : null,
  answer: i.answer,
});
