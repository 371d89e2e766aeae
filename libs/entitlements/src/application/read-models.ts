import type { Tx } from '#platform';
import type { Reseller } from '#marketplaces/core';

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}
export interface PageQuery {
  limit: number;
  after: string | null;
}

async function page<T extends Record<string, unknown>>(
  tx: Tx,
  sql: string,
  id: keyof T & string,
  q: PageQuery,
  more: unknown[] = [],
): Promise<Page<T>> {
  const rows = await tx.query<T>(`${sql} order by ${id} limit $2`, [q.after, q.limit + 1, ...more]);
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? String(items.at(-1)![id]) : null };
}

export interface SubscriptionRow extends Record<string, unknown> {
  subscription_id: string;
  marketplace: string;
  external_subscription_id: string;
  tenant_id: string | null;
  state: string;
  suspended_source: string | null;
  name: string | null;
  plan_version_id: string | null;
  external_offer_id: string;
  external_plan_id: string;
  quantity: number | null;
  term_starts_at: Date | null;
  term_ends_at: Date | null;
  ends_at: Date | null;
  ended_at: Date | null;
  activate_by: Date | null;
  private_offers: string[] | null;
  acknowledged_at: Date | null;
  is_test: boolean;
  reseller: Reseller | null;
  created_at: Date;
  updated_at: Date;
}
const SUBSCRIPTION = `subscription_id, marketplace, external_subscription_id, tenant_id, state, suspended_source, name, plan_version_id, external_offer_id, external_plan_id,
  quantity, term_starts_at, term_ends_at, ends_at, ended_at, activate_by, private_offers, acknowledged_at, is_test, reseller, created_at, updated_at`;

/** The private offers a purchase's plan was found under; ids of the marketplace. */
export const recordPrivateOffers = (tx: Tx, subscriptionId: string, offers: string[]): Promise<unknown> =>
  tx.query('update subscriptions set private_offers = $2 where subscription_id = $1', [subscriptionId, offers]);

/** All of these obey the role they run under: a tenant's transaction sees its own rows only. */
export const listSubscriptions = (tx: Tx, q: PageQuery): Promise<Page<SubscriptionRow>> =>
  page<SubscriptionRow>(
    tx,
    `select ${SUBSCRIPTION} from subscriptions where ($1::uuid is null or subscription_id > $1)`,
    'subscription_id',
    q,
  );

export async function getSubscription(tx: Tx, subscriptionId: string): Promise<SubscriptionRow | null> {
  const [row] = await tx.query<SubscriptionRow>(`select ${SUBSCRIPTION} from subscriptions where subscription_id = $1`, [subscriptionId]);
  return row ?? null;
}

/** Many purchases at once, by id; those the role cannot see are left out. */
export async function readSubscriptions(tx: Tx, subscriptionIds: string[]): Promise<Map<string, SubscriptionRow>> {
  const rows = await tx.query<SubscriptionRow>(`select ${SUBSCRIPTION} from subscriptions where subscription_id = any($1::uuid[])`, [
    subscriptionIds,
  ]);
  return new Map(rows.map((r) => [r.subscription_id, r]));
}

/** Which of these purchases have not come to their end. */
export async function liveAmong(tx: Tx, subscriptionIds: string[]): Promise<Set<string>> {
  const rows = await tx.query<{ id: string }>(
    `select subscription_id as id from subscriptions where subscription_id = any($1::uuid[]) and state not in ('cancelled', 'voided')`,
    [subscriptionIds],
  );
  return new Set(rows.map((r) => r.id));
}

/**
 * Which purchases a marketplace's money reports mean by their own names: the purchase itself, an agreement, or a buyer's account
 * (which may have several). Names nobody here knows are left out.
 */
export async function purchasesByForeignName(
  tx: Tx,
  q: { marketplace: string; grain: 'purchase' | 'agreement' | 'account'; names: string[] },
): Promise<Map<string, string[]>> {
  const rows = await tx.query<{ name: string; subscription_id: string }>(
    q.grain === 'purchase'
      ? 'select external_subscription_id as name, subscription_id from subscriptions where marketplace = $1 and external_subscription_id = any($2::text[]) order by 2'
      : q.grain === 'account'
        ? 'select buyer_account_id as name, subscription_id from subscriptions where marketplace = $1 and buyer_account_id = any($2::text[]) order by 2'
        : `select external_id as name, subscription_id from subscription_aliases where marketplace = $1 and kind = 'agreement' and external_id = any($2::text[]) order by 2`,
    [q.marketplace, q.names],
  );
  const out = new Map<string, string[]>();
  for (const r of rows) out.set(r.name, [...(out.get(r.name) ?? []), r.subscription_id]);
  return out;
}

/** The other way: the name under which a marketplace's money reports speak of each purchase; null where none is known. */
export async function foreignNamesOf(
  tx: Tx,
  q: { grain: 'purchase' | 'agreement' | 'account'; subscriptionIds: string[] },
): Promise<Map<string, string | null>> {
  const rows = await tx.query<{ subscription_id: string; name: string | null }>(
    q.grain === 'agreement'
      ? `select s.subscription_id, (select max(a.external_id) from subscription_aliases a where a.subscription_id = s.subscription_id and a.kind = 'agreement') as name
           from subscriptions s where s.subscription_id = any($1::uuid[])`
      : `select subscription_id, ${q.grain === 'account' ? 'buyer_account_id' : 'external_subscription_id'} as name from subscriptions where subscription_id = any($1::uuid[])`,
    [q.subscriptionIds],
  );
  return new Map(rows.map((r) => [r.subscription_id, r.name]));
}

export interface EntitlementRow extends Record<string, unknown> {
  entitlement_id: string;
  tenant_id: string;
  subscription_id: string;
  feature: string;
  value: unknown;
  plan_version_id: string;
  starts_at: Date;
  ends_at: Date | null;
}
export const listEntitlements = (tx: Tx, q: PageQuery): Promise<Page<EntitlementRow>> =>
  page<EntitlementRow>(
    tx,
    'select entitlement_id, tenant_id, subscription_id, feature, value, plan_version_id, starts_at, ends_at from entitlements where ($1::uuid is null or entitlement_id > $1)',
    'entitlement_id',
    q,
  );

export interface QuotaRow extends Record<string, unknown> {
  quota_id: string;
  tenant_id: string;
  subscription_id: string;
  name: string;
  unit: string;
  hard_limit: string;
  plan_version_id: string;
  starts_at: Date;
  ends_at: Date | null;
}
export const listQuotas = (tx: Tx, q: PageQuery): Promise<Page<QuotaRow>> =>
  page<QuotaRow>(
    tx,
    'select quota_id, tenant_id, subscription_id, name, unit, hard_limit, plan_version_id, starts_at, ends_at from quotas where ($1::uuid is null or quota_id > $1)',
    'quota_id',
    q,
  );
