import { uuidv7, type Tx } from '#platform';
import { parseUsageEvent, type SampleEvent } from '../domain/usage-event.js';
import { fromUs, hourOf, instantText } from '../domain/units.js';
import type { MeteringDeps } from './deps.js';
import { raiseFindings } from './findings.js';
import type { Binding, IngestResult } from './intake-types.js';

const REJECTED_KEPT = 10_000;

export async function nameTooOld(deps: MeteringDeps, tx: Tx, events: { event: SampleEvent; binding: Binding }[]): Promise<void> {
  for (const { event, binding } of events) {
    // It was never measured, so nothing leaves the sum: the row names the event with quantity 0, the finding tells its value.
    await tx.query(
      `insert into ledger_entries (subscription_id, meter, hour, segment_id, term, cause, ref, tenant_id, quantity, recorded_at)
         select s.subscription_id, s.meter, $3::timestamptz, null, 'loss', 'event_too_old', $4, s.tenant_id, 0, $5 from series s where s.subscription_id = $1 and s.metric = $2
         on conflict do nothing`,
      [binding.subscriptionId, event.metric, instantText(hourOf(event.at)), `${event.source}#${event.id}`, deps.clock.now()],
    );
  }
  await raiseFindings(
    tx,
    deps.clock,
    events.map(({ event, binding }) => ({
      kind: 'loss.event_too_old' as const,
      dedupeKey: `event_too_old:${event.source}#${event.id}`,
      tenantId: binding.tenantId,
      subscriptionId: binding.subscriptionId,
      hour: fromUs(hourOf(event.at)),
      evidence: {
        source: event.source,
        eventId: event.id,
        metric: event.metric,
        value: event.value.toString(),
        time: instantText(event.at),
      },
    })),
  );
}

/** What came from outside is kept, refused or not; capped, so that nobody fills the disk. */
export async function keepRejected(deps: MeteringDeps, poster: string, events: unknown[], all: IngestResult[], now: bigint): Promise<void> {
  const refused = all.slice(0, 1_000);
  await deps.db.ops(async (tx) => {
    await tx.query(
      `insert into rejected_events (rejected_id, principal, rejected_at, event_id, code, detail, body_sample)
         select * from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[])`,
      [
        refused.map(() => uuidv7()),
        refused.map(() => poster),
        refused.map(() => instantText(now)),
        refused.map((r) => r.id),
        refused.map((r) => r.code ?? 'usage.duplicate_id'),
        refused.map((r) => r.detail ?? ''),
        refused.map((r) => sampleOf(events[r.index])),
      ],
    );
    await tx.query(
      'delete from rejected_events where rejected_id in (select rejected_id from rejected_events order by rejected_at desc, rejected_id desc offset $1)',
      [REJECTED_KEPT],
    );
    const skewed = refused.filter((r) => r.code === 'usage.time_in_future').map((r) => parseUsageEvent(events[r.index]));
    await raiseFindings(
      tx,
      deps.clock,
      skewed.flatMap((p) =>
        p.ok
          ? [
              {
                kind: 'clock_skew' as const,
                dedupeKey: `clock_skew:${p.event.source}:${instantText(now).slice(0, 10)}`,
                evidence: {
                  source: p.event.source,
                  eventId: p.event.id,
                  ourTime: instantText(now),
                  theirTime: instantText(p.event.type === 'sample' ? p.event.at : p.event.through),
                },
              },
            ]
          : [],
      ),
    );
  });
}

const sampleOf = (raw: unknown): string => {
  try {
    return (JSON.stringify(raw) ?? String(raw)).slice(0, 2_000);
  } catch {
    return '(not JSON)';
  }
};
