import type { Tx } from '#platform';
import { CARRY_LIMIT } from '../domain/measure-parts.js';
import { instantText } from '../domain/units.js';

/** A sample of that time came too late for its series `s`: its hour is closed, or all is. */
export const isLate = (at: string): string =>
  `(${at} < s.next_hour or s.completed_at is not null and ${at} <= s.ended_at + interval '${CARRY_LIMIT} microseconds')`;

/**
 * Notes the hours of `samples` (a query of `sub`, `metric`, `at`) that were closed before these came. Under the shards' shared
 * fence. Of an ended series the last hour is the one that holds its end: the last sample may lie in the hour after it, and after
 * a completion nobody would look there.
 */
export const noteLateSql = (samples: string): string =>
  // A sample on the edge of an hour may close a cut there, so the hour before is looked at too once its own is closed.
  `insert into late_arrivals (subscription_id, metric, hour, tenant_id)
   select distinct on (s.subscription_id, s.metric, l.hour) s.subscription_id, s.metric, l.hour, s.tenant_id
     from (${samples}) u
     join series s on s.subscription_id = u.sub and s.metric = u.metric
      and ${isLate('u.at')}
    cross join lateral (select least(date_trunc('hour', u.at - interval '1 microsecond', 'UTC'),
                                     date_trunc('hour', s.ended_at - interval '1 microsecond', 'UTC')) as hour) l
   on conflict do nothing`;

const NOTE_LATE = noteLateSql('select * from unnest($1::uuid[], $2::text[], $3::timestamptz[]) as u(sub, metric, at)');

/** The same for samples that are stored already. */
export async function markLate(tx: Pick<Tx, 'query'>, samples: { subscriptionId: string; metric: string; at: bigint }[]): Promise<void> {
  await tx.query(NOTE_LATE, [samples.map((s) => s.subscriptionId), samples.map((s) => s.metric), samples.map((s) => instantText(s.at))]);
}
