import { uuidv7, type Tx } from '#platform';
import type { FulfillmentEvent, NoticeKind } from '#marketplaces/core';
import type { Page, PageQuery } from './read-models.js';
import { subscriptionIdOf } from './subscriptions.js';

export interface NoticeRow extends Record<string, unknown> {
  notice_id: string;
  marketplace: string;
  kind: NoticeKind;
  external_id: string;
  subscription_id: string | null;
  external_ref: string;
  state: 'open' | 'closed';
  status: string;
  due_at: Date | null;
  detail: Record<string, string>;
  occurred_at: Date;
  created_at: Date;
  updated_at: Date;
}

/**
 * Keeps the newest word on each matter, in whatever order they come: an older one changes nothing, and of two at one instant the
 * one that closes it holds. Nothing where the event has no notice.
 */
export async function recordNotice(tx: Tx, event: FulfillmentEvent, now: Date): Promise<void> {
  const { notice, marketplace } = event;
  if (!notice) return;
  const named = event.externalSubscriptionId !== '' ? subscriptionIdOf(marketplace, event.externalSubscriptionId) : null;
  await tx.query(
    `insert into marketplace_notices as n (notice_id, marketplace, kind, external_id, subscription_id, external_ref, state, status, due_at, detail, occurred_at, created_at, updated_at)
     values ($1, $2, $3, $4,
             coalesce((select s.subscription_id from subscriptions s where s.subscription_id = $5),
                      (select a.subscription_id from subscription_aliases a where a.marketplace = $2 and a.kind = $6 and a.external_id = $7)),
             $8, $9, $10, $11, $12, $13, $14, $14)
     on conflict (marketplace, kind, external_id) do update
        set subscription_id = coalesce(n.subscription_id, excluded.subscription_id),
            state = case when newer.is then excluded.state else n.state end,
            status = case when newer.is then excluded.status else n.status end,
            due_at = case when newer.is then excluded.due_at else n.due_at end,
            detail = case when newer.is then n.detail || excluded.detail else excluded.detail || n.detail end,
            occurred_at = greatest(n.occurred_at, excluded.occurred_at), updated_at = excluded.updated_at
       `.replaceAll(
      'newer.is',
      "(excluded.occurred_at > n.occurred_at or (excluded.occurred_at = n.occurred_at and excluded.state = 'closed'))",
    ),
    [
      uuidv7(),
      marketplace,
      notice.kind,
      notice.externalId,
      named,
      event.alias?.kind ?? null,
      event.alias?.externalId ?? null,
      event.alias?.externalId ?? event.externalSubscriptionId,
      notice.state,
      notice.status,
      notice.dueAt,
      JSON.stringify(notice.detail),
      event.occurredAt,
      now,
    ],
  );
}

/** By urgency: what happens by itself first, then the rest by age. */
export async function listNotices(
  tx: Tx,
  filter: { kind: NoticeKind | null; state: 'open' | 'closed' | null; subscriptionId: string | null },
  q: PageQuery,
): Promise<Page<NoticeRow>> {
  const [due, id] = q.after?.split('|') ?? [];
  const rows = await tx.query<NoticeRow & { cursor: string }>(
    `select * from (
       select n.*, coalesce(to_char(n.due_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '9999') || '|' || n.notice_id as cursor
         from marketplace_notices n
        where ($1::text is null or n.kind = $1) and ($2::text is null or n.state = $2) and ($3::uuid is null or n.subscription_id = $3)) one
      where $4::text is null or one.cursor > $4 || '|' || $5 order by one.cursor limit $6`,
    [filter.kind, filter.state, filter.subscriptionId, due ?? null, id ?? null, q.limit + 1],
  );
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.cursor : null };
}

export interface RenewalRow extends Record<string, unknown> {
  subscription_id: string;
  marketplace: string;
  external_subscription_id: string;
  name: string | null;
  external_plan_id: string;
  term_ends_at: Date;
  ends_at: Date | null;
  announced: string | null;
  announced_at: Date | null;
}

/** Purchases in force whose term ends in [from, to), soonest first, with what the marketplace has announced of it. */
export function listRenewals(tx: Tx, span: { from: Date; to: Date; limit: number }): Promise<RenewalRow[]> {
  return tx.query<RenewalRow>(
    `select s.subscription_id, s.marketplace, s.external_subscription_id, s.name, s.external_plan_id, s.term_ends_at, s.ends_at,
            n.status as announced, n.occurred_at as announced_at
       from subscriptions s
       left join lateral (select status, occurred_at from marketplace_notices
                           where subscription_id = s.subscription_id and kind = 'renewal' and state = 'open' order by occurred_at desc limit 1) n on true
      where s.state in ('active', 'suspended') and s.term_ends_at >= $1 and s.term_ends_at < $2
      order by s.term_ends_at, s.subscription_id limit $3`,
    [span.from, span.to, span.limit],
  );
}

/** Of these purchases, those about whose buyer the marketplace has warned and not yet given the all-clear. */
export async function withAdvisory(tx: Tx, subscriptionIds: string[]): Promise<Set<string>> {
  const rows = await tx.query<{ subscription_id: string }>(
    `select distinct subscription_id from marketplace_notices where subscription_id = any($1::uuid[]) and kind = 'advisory' and state = 'open'`,
    [subscriptionIds],
  );
  return new Set(rows.map((r) => r.subscription_id));
}
