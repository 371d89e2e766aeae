import type { Tx } from '#platform';
import type { Page, PageQuery } from '#entitlements';

export type TimelineKind = 'inbound' | 'decision' | 'event' | 'segment' | 'ended' | 'call' | 'operation' | 'finding' | 'export';

export interface TimelineRow extends Record<string, unknown> {
  at: Date;
  rank: number;
  entry_id: string;
  kind: TimelineKind;
  facts: Record<string, string | number | boolean | null>;
  refs: Record<string, string | null>;
  cursor: string;
  /** Operators only: what a call was asked for and answered. */
  call: { intent: unknown; outcome: unknown } | null;
  /** Operators only: what was read beside the purchase when the event was judged. */
  evidence: Record<string, unknown> | null;
}

/**
 * Everything that happened to a purchase, oldest first. Who may see which row and column is the database's: the view looks with
 * the rights of its reader. `after` is a cursor of an earlier row.
 */
export async function readTimeline(
  tx: Tx,
  subscriptionId: string,
  q: PageQuery,
  reader: 'operator' | 'tenant',
): Promise<Page<TimelineRow>> {
  // The tenant's role has no right on these columns: the query would fail, not leak.
  const evidence =
    reader === 'operator'
      ? `case when t.kind = 'event' then (select e.evidence from fulfillment_events e where e.fulfillment_event_id = t.entry_id) end`
      : 'null::jsonb';
  const call =
    reader === 'operator'
      ? `case when t.kind = 'call' then (select jsonb_build_object('intent', c.intent, 'outcome', c.outcome) from calls c where c.call_id = t.entry_id) end`
      : 'null::jsonb';
  const [at, rank, id] = q.after?.split('|') ?? [];
  const rows = await tx.query<TimelineRow>(
    `select t.at, t.rank, t.entry_id, t.kind, t.facts, t.refs, ${call} as call, ${evidence} as evidence,
            to_char(t.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|' || t.rank || '|' || t.entry_id as cursor
       from subscription_timeline t
      where t.subscription_id = $1 and ($2::timestamptz is null or (t.at, t.rank, t.entry_id) > ($2, $3::int, $4::uuid))
      order by t.at, t.rank, t.entry_id limit $5`,
    [subscriptionId, at ?? null, rank ?? null, id ?? null, q.limit + 1],
  );
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.cursor : null };
}
