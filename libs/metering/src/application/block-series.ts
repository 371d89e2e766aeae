import type { Tx } from '#platform';
import { fromUs, instantText } from '../domain/units.js';
import type { SeriesRow } from '../infra/series.sql.js';
import type { ClosingDeps } from './deps.js';
import { raiseFindings } from './findings.js';

const BLOCKED_FOR_MS = 10 * 60_000;

/**
 * A series that cannot close stands still for ten minutes and says so, once for each hour, and again where a person has let it go and it
 * still cannot; the others go on. `now` in microseconds.
 */
export async function blockSeries(
  tx: Tx,
  deps: ClosingDeps,
  series: Pick<SeriesRow, 'subscriptionId' | 'meter' | 'tenantId' | 'nextHour'>,
  reason: string,
  now: bigint,
): Promise<void> {
  const { subscriptionId, meter, tenantId, nextHour } = series;
  deps.logger.error({ subscription: subscriptionId, meter, hour: instantText(nextHour), err: reason }, 'a series cannot close its hour');
  await tx.query('update series set blocked_until = $3, blocked_reason = $4 where subscription_id = $1 and meter = $2', [
    subscriptionId,
    meter,
    new Date(fromUs(now).getTime() + BLOCKED_FOR_MS),
    reason,
  ]);
  await raiseFindings(tx, deps.clock, [
    {
      kind: 'lane_parked',
      dedupeKey: `series_blocked:${subscriptionId}:${meter}:${instantText(nextHour)}`,
      again: true,
      tenantId,
      subscriptionId,
      hour: fromUs(nextHour),
      evidence: { meter, reason },
    },
  ]);
}
