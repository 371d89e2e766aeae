import type { Tx } from '#platform';
import { CARRY_LIMIT } from '../domain/measure-hour.js';
import { hourOf, instantText } from '../domain/units.js';

/**
 * Notes the hours that were closed before these samples came. Under the shards' shared fence. Of an ended series the last hour
 * is the one that holds its end: the last sample may lie in the hour after it, and after a completion nobody would look there.
 */
export async function markLate(tx: Pick<Tx, 'query'>, samples: { subscriptionId: string; metric: string; at: bigint }[]): Promise<void> {
  // A sample on the edge of an hour may close a cut there, so the hour before is looked at too once its own is closed.
  await tx.query(
    `insert into late_arrivals (subscription_id, metric, hour, tenant_id)
     select distinct on (s.subscription_id, s.metric, l.hour) s.subscription_id, s.metric, l.hour, s.tenant_id
       from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[]) as u(sub, metric, at, hour, before)
       join series s on s.subscription_id = u.sub and s.metric = u.metric
        and (u.hour < s.next_hour or s.completed_at is not null and u.at <= s.ended_at + $6::bigint * interval '1 microsecond')
      cross join lateral (select least(u.before, date_trunc('hour', s.ended_at - interval '1 microsecond', 'UTC')) as hour) l
     on conflict do nothing`,
    [
      samples.map((s) => s.subscriptionId),
      samples.map((s) => s.metric),
      samples.map((s) => instantText(s.at)),
      samples.map((s) => instantText(hourOf(s.at))),
      samples.map((s) => instantText(hourOf(s.at - 1n))),
      CARRY_LIMIT.toString(),
    ],
  );
}
