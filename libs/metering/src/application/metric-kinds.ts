import { groupBy, type Database } from '#platform';
import { readMeters, SAMPLE_KIND_OF, type SampleKind } from '#entitlements';
import type { Rejection, SampleEvent } from '../domain/usage-event.js';
import { US_PER_MINUTE } from '../domain/units.js';

/** Several where purchases of an older catalog count one metric in several ways. */
type KindsByMetric = ReadonlyMap<string, ReadonlySet<SampleKind>>;

/**
 * The kind of sample that each metric of the catalog is made of. A count that is stored as an amount, or a value as a count, would be
 * billed wrongly with every sample, so whoever reports it is told. Read once a minute at most: a start with a newer catalog may be
 * another process's.
 */
export class MetricKinds {
  private kinds: Promise<KindsByMetric> | null = null;
  private readAt = 0n;

  constructor(private readonly db: Database) {}

  /** By metric; a metric that no plan counts may be anything. `now`: microseconds. */
  read(now: bigint): Promise<KindsByMetric> {
    const age = now - this.readAt;
    if (this.kinds && age >= 0n && age < US_PER_MINUTE) return this.kinds;
    this.readAt = now;
    this.kinds = this.db.ops(async (tx) => {
      const byMetric = groupBy(await readMeters(tx, { sold: true }), (m) => m.metric);
      return new Map([...byMetric].map(([metric, meters]) => [metric, new Set(meters.map((m) => SAMPLE_KIND_OF[m.kind]))]));
    });
    this.kinds.catch(() => (this.kinds = null));
    return this.kinds;
  }
}

/** Why this sample is not what its metric is made of; null: it is. */
export function refusedKind(event: Pick<SampleEvent, 'metric' | 'kind'>, kinds: KindsByMetric): Rejection | null {
  const may = kinds.get(event.metric);
  if (!may || may.has(event.kind)) return null;
  return {
    code: 'usage.wrong_kind',
    detail: `${event.metric} is reported as a ${[...may].join(' or a ')}, and this event says it is a ${event.kind}`,
  };
}
