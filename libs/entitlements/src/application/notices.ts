import { ProblemError, uuidv7, type Tx } from '#platform';
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
  /** Who of ours looks after it. */
  taken_by: string | null;
  taken_at: Date | null;
  /** Where one of ours closed it, or time did; null while only the marketplace has spoken. */
  closed_by: string | null;
  closed_at: Date | null;
  closed_reason: string | null;
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
            closed_by = case when newer.is then null else n.closed_by end,
            closed_at = case when newer.is then null else n.closed_at end,
            closed_reason = case when newer.is then null else n.closed_reason end,
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

/** Of whom a request is that nobody answered. */
const BY_TIME = 'control plane';

/** Who looks after it. Throws `notice.not_found`, `notice.closed`, and `notice.taken` where another does and `takeOver` is not said. */
export async function takeNotice(
  tx: Tx,
  noticeId: string,
  wish: { by: string; takeOver: boolean; now: Date },
): Promise<{ notice: NoticeRow; from: string | null }> {
  const found = await lockOpen(tx, noticeId);
  if (found.taken_by === wish.by) return { notice: found, from: null };
  if (found.taken_by && !wish.takeOver)
    throw new ProblemError('conflict', 'notice.taken', `${found.taken_by} looks after this already. Say takeOver to take it from there.`);
  const [notice] = await tx.query<NoticeRow>(
    'update marketplace_notices set taken_by = $2, taken_at = $3, updated_at = $3 where notice_id = $1 returning *',
    [noticeId, wish.by, wish.now],
  );
  return { notice: notice!, from: found.taken_by };
}

/** It needs nobody any more. The marketplace's next word on the matter opens it again. Throws `notice.not_found`, `notice.closed`. */
export async function closeNotice(tx: Tx, noticeId: string, wish: { by: string; reason: string; now: Date }): Promise<NoticeRow> {
  await lockOpen(tx, noticeId);
  const [notice] = await tx.query<NoticeRow>(
    `update marketplace_notices set state = 'closed', closed_by = $2, closed_at = $3, closed_reason = $4, updated_at = $3
      where notice_id = $1 returning *`,
    [noticeId, wish.by, wish.now, wish.reason],
  );
  return notice!;
}

/** Unanswered requests for cancellation whose time is over: their marketplace has approved them by itself (contract aws §4.1). */
export function closeUnanswered(tx: Tx, now: Date): Promise<NoticeRow[]> {
  return tx.query<NoticeRow>(
    `update marketplace_notices set state = 'closed', status = 'Approved by AWS', closed_by = $2, closed_at = $1,
            closed_reason = 'unanswered until ' || to_char(due_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), updated_at = $1
      where kind = 'cancellation_request' and state = 'open' and due_at <= $1 returning *`,
    [now, BY_TIME],
  );
}

async function lockOpen(tx: Tx, noticeId: string): Promise<NoticeRow> {
  const [found] = await tx.query<NoticeRow>('select * from marketplace_notices where notice_id = $1 for update', [noticeId]);
  if (!found) throw new ProblemError('not_found', 'notice.not_found', 'There is no such notice.');
  if (found.state === 'closed') throw new ProblemError('conflict', 'notice.closed', `This is closed: ${found.status}.`);
  return found;
}

/** By urgency: what happens by itself first, then the rest by age. */
export async function listNotices(
  tx: Tx,
  filter: { kind: NoticeKind | null; state: 'open' | 'closed' | null; subscriptionId: string | null; takenBy?: string | null },
  q: PageQuery,
): Promise<Page<NoticeRow>> {
  const [due, id] = q.after?.split('|') ?? [];
  const rows = await tx.query<NoticeRow & { cursor: string }>(
    `select * from (
       select n.*, coalesce(to_char(n.due_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '9999') || '|' || n.notice_id as cursor
         from marketplace_notices n
        where ($1::text is null or n.kind = $1) and ($2::text is null or n.state = $2) and ($3::uuid is null or n.subscription_id = $3)
          and ($7::text is null or n.taken_by is not distinct from nullif($7, ''))) one
      where $4::text is null or one.cursor > $4 || '|' || $5 order by one.cursor limit $6`,
    [filter.kind, filter.state, filter.subscriptionId, due ?? null, id ?? null, q.limit + 1, filter.takenBy ?? null],
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
