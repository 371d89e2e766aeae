import type { Tx } from '#platform';
import { readMeteredMarks, readMeteredSubscriptions, readPlanVersions, readSegments, type MeteredSubscription } from '#entitlements';
import { shardOf } from '../domain/merkle.js';
import { hourOf, instantText, toUs } from '../domain/units.js';
import type { ClosingDeps } from './deps.js';
import type { Failures } from './failures.js';

/**
 * Makes the series of all purchases that count, and takes over their ends; each group whose mark differs from that of the last
 * time, in a transaction of its own. The mark is that of before the reading: what changes in between is read once more.
 */
export async function syncAllSeries(deps: ClosingDeps, failures: Failures): Promise<number> {
  const stale = await deps.db.ops(async (tx) => {
    const known = await tx.query<{ bucket: number; mark: string }>('select bucket, mark from series_marks');
    const marks = new Map(known.map((k) => [k.bucket, k.mark]));
    return [...(await readMeteredMarks(tx))].filter(([bucket, mark]) => marks.get(bucket) !== mark);
  });
  let done = 0;
  for (const [bucket, mark] of stale)
    done += await failures.hold(`purchases of group ${bucket}`, () =>
      deps.db.ops(async (tx) => {
        const changed = await sync(tx, deps, await readMeteredSubscriptions(tx, { bucket }));
        await tx.query('insert into series_marks (bucket, mark) values ($1, $2) on conflict (bucket) do update set mark = excluded.mark', [
          bucket,
          mark,
        ]);
        return changed;
      }),
    );
  return done;
}

/** Makes a series per (subscription, meter) as these purchases begin to count, and takes over the end of a subscription. */
export async function syncSeries(tx: Tx, deps: ClosingDeps, subscriptionIds: string[]): Promise<number> {
  return sync(tx, deps, await readMeteredSubscriptions(tx, { subscriptionIds }));
}

async function sync(tx: Tx, deps: ClosingDeps, subscriptions: MeteredSubscription[]): Promise<number> {
  if (subscriptions.length === 0) return 0;
  const ids = subscriptions.map((s) => s.subscriptionId);
  const segments = await readSegments(tx, { subscriptionIds: ids, from: new Date(0), to: new Date(8.64e15 / 4) });
  const plans = await readPlanVersions(
    tx,
    segments.map((s) => s.planVersionId),
  );
  const rows = new Map<string, Record<string, unknown>>();
  const byId = new Map(subscriptions.map((s) => [s.subscriptionId, s]));
  for (const segment of segments) {
    const subscription = byId.get(segment.subscriptionId);
    if (!subscription) continue;
    for (const m of plans.get(segment.planVersionId)?.meters ?? []) {
      const key = `${segment.subscriptionId}/${m.meter}`;
      if (rows.has(key)) continue; // segments come in order: the first that has the meter begins the series
      rows.set(key, {
        subscription_id: segment.subscriptionId,
        meter: m.meter,
        tenant_id: subscription.tenantId,
        marketplace: subscription.marketplace,
        metric: m.metric,
        kind: m.kind,
        source_kind: m.source,
        shard: shardOf(segment.subscriptionId),
        hour: instantText(hourOf(toUs(segment.startsAt))),
        ended_at: subscription.endedAt,
      });
    }
  }
  const made = await tx.query(
    `insert into series (subscription_id, meter, tenant_id, marketplace, metric, kind, source_kind, shard, first_hour, next_hour, ended_at, state)
     select r.subscription_id, r.meter, r.tenant_id, r.marketplace, r.metric, r.kind, r.source_kind, r.shard, r.hour, r.hour, r.ended_at, '{}'
       from jsonb_to_recordset($1::jsonb) as r(subscription_id uuid, meter text, tenant_id uuid, marketplace text, metric text, kind text, source_kind text, shard smallint, hour timestamptz, ended_at timestamptz)
      where not exists (select 1 from series s where s.subscription_id = r.subscription_id and s.meter = r.meter)
     on conflict do nothing returning 1`,
    [JSON.stringify([...rows.values()])],
  );
  const ended = subscriptions.filter((s) => s.endedAt !== null);
  if (ended.length === 0) return made.length;
  const params = [ended.map((s) => s.subscriptionId), ended.map((s) => s.endedAt)];
  // Items before series, as everyone who holds both: submission runs beside us.
  await tx.query(
    `select 1 from submission_items i where i.settled_at is null and i.subscription_id in (
       select s.subscription_id from series s join unnest($1::uuid[], $2::timestamptz[]) as e(id, at) on s.subscription_id = e.id where s.ended_at is distinct from e.at)
      order by i.item_id for update of i`,
    params,
  );
  const changed = await tx.query<{ subscription_id: string }>(
    `update series s set ended_at = e.at from unnest($1::uuid[], $2::timestamptz[]) as e(id, at)
      where s.subscription_id = e.id and s.ended_at is distinct from e.at returning s.subscription_id`,
    params,
  );
  // The end came after its hour was closed: that hour is looked at again and the series is finished (absorb-late).
  await tx.query(
    `insert into late_arrivals (subscription_id, metric, hour, tenant_id)
     select distinct s.subscription_id, s.metric, greatest(s.first_hour, date_trunc('hour', s.ended_at - interval '1 microsecond', 'UTC')), s.tenant_id
       from series s where s.subscription_id = any($1::uuid[]) and s.completed_at is null and s.ended_at <= s.next_hour on conflict do nothing`,
    [params[0]],
  );
  const cancelled = changed.map((c) => c.subscription_id).filter((id) => !byId.get(id)?.goesOn);
  if (cancelled.length > 0) await moveDeadlines(tx, deps, [...new Set(cancelled)]);
  return made.length + changed.length;
}

/** A cancellation shortens the window of what is still open (AWS and GCP: one hour after the end, money.md "Final hour"). */
async function moveDeadlines(tx: Tx, deps: ClosingDeps, subscriptionIds: string[]): Promise<void> {
  const items = await tx.query<{ item_id: string; marketplace: string; hour: Date; ended_at: Date }>(
    `select i.item_id, i.marketplace, i.hour, (select max(s.ended_at) from series s where s.subscription_id = i.subscription_id) as ended_at
       from submission_items i where i.subscription_id = any($1::uuid[]) and i.settled_at is null order by i.item_id for update of i`,
    [subscriptionIds],
  );
  for (const item of items) {
    const adapter = deps.marketplaces.all().find((a) => a.marketplace === item.marketplace);
    if (!adapter) continue;
    const d = adapter.deadlines({ hourStart: item.hour, hourEnd: new Date(item.hour.getTime() + 3_600_000), endedAt: item.ended_at });
    await tx.query('update submission_items set target_at = $2, hard_at = $3 where item_id = $1', [item.item_id, d.target, d.hard]);
  }
}
