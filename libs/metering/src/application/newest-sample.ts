import type { Tx } from '#platform';

export interface NewestSample {
  value: bigint;
  at: Date;
}

const HOUR_MS = 3_600_000;
/** No sample older than this is taken in (money.md "Skew"), so what lies before it is nobody's last word. */
const LONGEST_MS = 35 * 24 * HOUR_MS;

/**
 * What was last told of a placement by a metric, a gauge's value or a counter's, within 35 days; null where nothing was. Mostly that
 * is in the last hour, so that this one or two days are asked first.
 */
export async function newestSample(tx: Tx, q: { placementId: string; metric: string; now: Date }): Promise<NewestSample | null> {
  for (const back of [HOUR_MS, LONGEST_MS]) {
    const [row] = await tx.query<{ value: string; at: Date }>(
      `select value::text, occurred_at as at from usage_events
        where placement_id = $1 and metric = $2 and occurred_at > $3 order by occurred_at desc, sequence desc limit 1`,
      [q.placementId, q.metric, new Date(q.now.getTime() - back)],
    );
    if (row) return { value: BigInt(row.value), at: row.at };
  }
  return null;
}
