import { errorText, type Tx } from '#platform';
import { measureHour } from '../domain/measure-hour.js';
import { openingFromJson, openingToJson } from '../domain/opening-json.js';
import { emissionAt, unsentOf } from '../domain/emission.js';
import type { HourSegment, Unsent } from '../domain/types.js';
import { fromUs, instantText, maxOf, US_PER_HOUR } from '../domain/units.js';
import { noteAbsorb, noteFacts } from '../infra/closing-order.sql.js';
import { readPurchaseBindings } from '../infra/purchase-bindings.sql.js';
import { SegmentsOfHour } from '../infra/segments-of-hour.js';
import { SamplesOfHour, withSilentStreams } from '../infra/samples.sql.js';
import { lateSeries, type SeriesRow } from '../infra/series.sql.js';
import { writeCarryIns, writeEntries, type CarryInRow, type EntryRow } from '../infra/write-ledger.js';
import type { ClosingDeps } from './deps.js';
import { raiseFindings, type NewFinding } from './findings.js';

/**
 * Hours that got samples or a cut after they were closed are measured again from their stored opening; records never change.
 * The difference per segment is an adjustment of its hour and becomes a carry-in of a later hour of the same segment, or,
 * where there is none, a named loss or an over-report (money.md "Late usage").
 */
export async function absorbLate(tx: Tx, deps: ClosingDeps, shard: number, now: bigint): Promise<number> {
  const late = await lateSeries(tx, now, shard);
  const absorbed: typeof late = [];
  for (const { series, from } of late) {
    await tx.query('savepoint absorb');
    try {
      await absorbSeries(tx, deps, series, maxOf(from, series.firstHour));
      await tx.query('release savepoint absorb');
      absorbed.push({ series, from });
    } catch (error) {
      await tx.query('rollback to savepoint absorb');
      deps.logger.error(
        { subscription: series.subscriptionId, meter: series.meter, err: errorText(error) },
        'late usage could not be absorbed',
      );
      await tx.query(
        `update series set blocked_until = $3::timestamptz + interval '10 minutes', blocked_reason = $4 where subscription_id = $1 and meter = $2`,
        [series.subscriptionId, series.meter, instantText(now), errorText(error)],
      );
      await raiseFindings(tx, deps.clock, [
        {
          kind: 'lane_parked',
          dedupeKey: `late_blocked:${series.subscriptionId}:${series.meter}:${instantText(from)}`,
          again: true,
          tenantId: series.tenantId,
          subscriptionId: series.subscriptionId,
          hour: fromUs(from),
          evidence: { meter: series.meter, reason: errorText(error) },
        },
      ]);
    }
  }
  if (absorbed.length > 0) await noteAbsorb(tx, shard, absorbed, deps.clock.now());
  if (late.length > 0) {
    // Rows of blocked series stay; all series of one metric share a row, so it goes when none of them is blocked.
    await tx.query(
      `delete from late_arrivals a where a.subscription_id = any($1::uuid[]) and not exists (
         select 1 from series s where s.subscription_id = a.subscription_id and s.metric = a.metric and s.blocked_until > $2::timestamptz)`,
      [[...new Set(late.map((l) => l.series.subscriptionId))], instantText(now)],
    );
  }
  return late.length;
}

interface Difference {
  hour: bigint;
  segmentId: string;
  amount: bigint;
}

async function absorbSeries(tx: Tx, deps: ClosingDeps, series: SeriesRow, from: bigint): Promise<void> {
  const segments = await SegmentsOfHour.load(tx, [series.subscriptionId], maxOf(series.nextHour, from));
  const bindings = await readPurchaseBindings(tx, [series.subscriptionId]);
  await noteFacts(tx, [series], (id) => segments.read(id), bindings, deps.clock.now());
  const differences: Difference[] = [];
  if (from < series.nextHour) {
    const [first] = await tx.query<{ opening: unknown }>(
      'select opening from hour_closings where subscription_id = $1 and meter = $2 and hour = $3::timestamptz',
      [series.subscriptionId, series.meter, instantText(from)],
    );
    if (!first) throw new Error(`the closing of ${instantText(from)} is missing`);
    const opening = openingFromJson(first.opening);
    const known = await recognised(tx, series, from);
    for (let hour = from; hour < series.nextHour; hour += US_PER_HOUR) {
      const samples = withSilentStreams(series.source, opening, (await SamplesOfHour.gather(tx, [series], bindings, hour)).of(series));
      const measured = measureHour(
        { kind: series.kind, source: series.source, hourStart: hour, endedAt: series.endedAt, watermark: null },
        segments.of(series.subscriptionId, series.meter, hour),
        opening.streams,
        samples,
      );
      const before = known.get(hour) ?? new Map<string, bigint>();
      for (const id of new Set([...measured.bySegment.keys(), ...before.keys()])) {
        const m = measured.bySegment.get(id);
        const amount = (m ? m.measured + m.estimated : 0n) - (before.get(id) ?? 0n);
        if (amount !== 0n) differences.push({ hour, segmentId: id, amount });
      }
      opening.streams = measured.streams;
    }
    series.opening.streams = opening.streams;
  }
  const ended = series.endedAt !== null && series.endedAt <= series.nextHour;
  const book = new Book(series, deps.clock.now(), await ordinal(tx, series));
  for (const d of differences)
    book.adjust(d, segments.of(series.subscriptionId, series.meter, d.hour, d.segmentId ? [d.segmentId] : []), series.completed || ended);
  if (ended && !series.completed) await finish(tx, series, book, segments);
  await writeEntries(tx, book.entries, deps.clock.now(), 'closing');
  await writeCarryIns(tx, book.carryIns, deps.clock.now(), 'closing');
  await raiseFindings(tx, deps.clock, book.findings);
  const last = segments
    .of(series.subscriptionId, series.meter, series.nextHour - US_PER_HOUR)
    .find((s) => s.startsAt < series.nextHour && (s.endsAt === null || s.endsAt >= series.nextHour));
  await tx.query(
    `update series set state = $3, last_segment_id = $4, completed_at = coalesce(completed_at, case when $5 then $6::timestamptz end) where subscription_id = $1 and meter = $2`,
    [series.subscriptionId, series.meter, JSON.stringify(openingToJson(series.opening)), last?.segmentId ?? null, ended, deps.clock.now()],
  );
}

/** What the ledger holds as used, by hour and segment. */
async function recognised(tx: Tx, series: SeriesRow, from: bigint): Promise<Map<bigint, Map<string, bigint>>> {
  const rows = await tx.query<{ hour_us: string; segment_id: string | null; quantity: string }>(
    `select (extract(epoch from hour) * 1000000)::bigint::text as hour_us, segment_id, sum(quantity)::text as quantity from ledger_entries
      where subscription_id = $1 and meter = $2 and hour >= $3::timestamptz and term in ('measured', 'estimated', 'adjustment') group by hour, segment_id`,
    [series.subscriptionId, series.meter, instantText(from)],
  );
  const out = new Map<bigint, Map<string, bigint>>();
  for (const r of rows) {
    const hour = BigInt(r.hour_us);
    if (!out.has(hour)) out.set(hour, new Map());
    out.get(hour)!.set(r.segment_id ?? '', BigInt(r.quantity));
  }
  return out;
}

/** Corrections of one series are numbered, so that each has a natural key. */
async function ordinal(tx: Tx, series: SeriesRow): Promise<number> {
  const [row] = await tx.query<{ n: string }>(
    `select count(distinct ref) as n from ledger_entries where subscription_id = $1 and meter = $2 and term = 'adjustment'`,
    [series.subscriptionId, series.meter],
  );
  return Number(row!.n) + 1;
}

class Book {
  readonly entries: EntryRow[] = [];
  readonly carryIns: CarryInRow[] = [];
  readonly findings: NewFinding[] = [];
  readonly ref: string;

  constructor(
    private readonly series: SeriesRow,
    readonly at: Date,
    n: number,
  ) {
    this.ref = `late-${n}`;
  }

  adjust(d: Difference, segments: HourSegment[], over: boolean): void {
    const segment = segments.find((s) => s.segmentId === d.segmentId);
    this.add(d.hour, d.segmentId || null, 'adjustment', 'late', d.amount, this.ref);
    const reason = !segment
      ? 'outside_segment'
      : !segment.terms
        ? 'not_in_plan'
        : emissionAt(segment, d.hour) === 'none'
          ? 'emission_none'
          : !segment.billable && !segment.terms.billableWhileSuspended
            ? 'suspended'
            : null;
    if (reason) this.add(d.hour, d.segmentId || null, 'non_billable', reason, d.amount, this.ref);
    else if (over) this.end(d.hour, d.segmentId, d.amount, this.ref, segment ? unsentOf(emissionAt(segment, d.hour)) : null);
    else {
      this.add(d.hour, d.segmentId, 'deferred', 'late', d.amount, this.ref);
      this.carryIns.push({
        series: this.series,
        segmentId: d.segmentId,
        kind: d.amount > 0n ? 'late' : 'credit',
        stage: 'usage',
        fromHour: d.hour,
        amount: d.amount,
        cause: 'late',
        origin: `${this.ref}:${instantText(d.hour)}`,
      });
    }
  }

  /** There is no later hour: a named loss, or more reported than used; neither where nothing of that hour is sent by us. */
  end(
    hour: bigint,
    segmentId: string,
    amount: bigint,
    ref: string,
    unsent: Unsent | null,
    cause: 'missed_window' | 'residue' = 'missed_window',
  ): void {
    if (unsent) return this.add(hour, segmentId, 'non_billable', `${unsent}.${cause}`, amount, ref);
    const kind = amount > 0n ? (`loss.${cause}` as const) : ('over_reported' as const);
    if (amount > 0n) this.add(hour, segmentId, 'loss', cause, amount, ref);
    else this.add(hour, segmentId, 'over_reported', 'correction', -amount, ref);
    this.findings.push({
      kind,
      dedupeKey: `${kind}:${this.series.subscriptionId}:${this.series.meter}:${instantText(hour)}:${segmentId}:${ref}`,
      tenantId: this.series.tenantId,
      subscriptionId: this.series.subscriptionId,
      hour: fromUs(hour),
      evidence: { meter: this.series.meter, segmentId, baseQuantity: (amount > 0n ? amount : -amount).toString(), correction: ref },
    });
  }

  add(hour: bigint, segmentId: string | null, term: EntryRow['term'], cause: string, quantity: bigint, ref: string): void {
    this.entries.push({ series: this.series, hour, segmentId, term, cause, ref, quantity });
  }
}

/** The end of the subscription lies before hours that are closed: what is still open in the series is named now. */
async function finish(tx: Tx, series: SeriesRow, book: Book, segments: SegmentsOfHour): Promise<void> {
  const hour = series.nextHour - US_PER_HOUR;
  const unsentIn = (segmentId: string, at: bigint): Unsent | null => {
    const segment = segments.of(series.subscriptionId, series.meter, at, [segmentId]).find((s) => s.segmentId === segmentId);
    return segment ? unsentOf(emissionAt(segment, at)) : null;
  };
  const open = await tx.query<{ carry_in_id: string; segment_id: string; amount: string; from_us: string }>(
    `update carry_ins set consumed_by_hour = $3::timestamptz where subscription_id = $1 and meter = $2 and consumed_by_hour is null returning carry_in_id, segment_id, amount::text, (extract(epoch from from_hour) * 1000000)::bigint::text as from_us`,
    [series.subscriptionId, series.meter, instantText(hour)],
  );
  for (const c of open) {
    const ref = `${book.ref}:${c.carry_in_id}`;
    book.add(hour, c.segment_id, 'deferred', 'consumed', -BigInt(c.amount), ref);
    book.end(hour, c.segment_id, BigInt(c.amount), ref, unsentIn(c.segment_id, BigInt(c.from_us)));
  }
  const remainders = await tx.query<{ segment_id: string; quantity: string }>(
    `select segment_id, sum(quantity)::text as quantity from ledger_entries where subscription_id = $1 and meter = $2 and term = 'remainder' group by segment_id having sum(quantity) <> 0`,
    [series.subscriptionId, series.meter],
  );
  for (const r of remainders) {
    book.add(hour, r.segment_id, 'remainder', 'ended', -BigInt(r.quantity), book.ref);
    book.end(hour, r.segment_id, BigInt(r.quantity), book.ref, unsentIn(r.segment_id, hour), 'residue');
  }
  series.opening.segments = {};
}
