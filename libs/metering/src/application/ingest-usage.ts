import { canonicalJson, Grouped, sha256Hex, type Tx } from '#platform';
import { shardOf } from '../domain/merkle.js';
import {
  parseUsageEvent,
  refusedTime,
  type Numbered,
  type Rejection,
  type SampleEvent,
  type WatermarkEvent,
} from '../domain/usage-event.js';
import { toUs } from '../domain/units.js';
import { readBindings } from '../infra/read-bindings.js';
import { sharedShardsSql } from '../infra/locks.js';
import { storeSamples, type SampleRow } from '../infra/store-samples.js';
import { Uplinks } from '../infra/uplinks.js';
import type { UsageDays } from '../infra/usage-days.js';
import type { MeteringDeps } from './deps.js';
import { ownSource, posterOf, type Binding, type IngestResult, type UsagePrincipal } from './intake-types.js';
import { Bindings } from './place-samples.js';
import { keepRejected, nameTooOld } from './refused-usage.js';
import { noteNumbers, takeWatermarks } from './watermarks.js';

/** One request, read: what is not refused by itself. Its results are made anew by each try. */
interface Reading {
  principal: UsagePrincipal;
  poster: string;
  raw: unknown[];
  refused: IngestResult[];
  samples: { index: number; event: SampleEvent; hash: string }[];
  watermarks: { index: number; event: WatermarkEvent }[];
  /** Of its own source's events, also of refused ones: each gets an answer with this commit. */
  numbers: Numbered[];
}

/** A row and whose answer it is. */
type PlacedRow = SampleRow & { request: number; index: number };

/** How many events one commit takes, and how many may wait in memory: of all, and of one poster. */
const BOUNDS = { groups: 2, perGroup: 2_000, waiting: 50_000, each: 20_000 };

/**
 * Takes usage events: every event gets an answer, and the answer is given after commit (architecture §5.8). Requests that come
 * together share a commit, over tenants and posters (ADR 0016).
 */
export class IngestUsage {
  private readonly storing: Grouped<Reading, IngestResult[]>;
  private readonly uplinks = new Uplinks();

  constructor(
    private readonly deps: MeteringDeps,
    private readonly days: UsageDays,
  ) {
    this.storing = new Grouped(
      (readings) => this.commit(readings),
      async (reading) => (await this.commit([reading]))[0]!,
      { ...BOUNDS, ...deps.options?.intake, weigh: (r) => r.raw.length, of: (r) => r.poster },
    );
  }

  /** Throws `request.overloaded` (503) or `request.too_many_waiting` (429): nothing of the request was stored. */
  async run(principal: UsagePrincipal, events: unknown[]): Promise<{ results: IngestResult[] }> {
    const reading = this.read(principal, events);
    const results =
      reading.numbers.length + reading.samples.length + reading.watermarks.length > 0 ? await this.storing.run(reading) : reading.refused;
    await keepRejected(this.deps, reading.poster, events, results, toUs(this.deps.clock.now()));
    this.count(results);
    return { results };
  }

  private read(principal: UsagePrincipal, raw: unknown[]): Reading {
    const reading: Reading = { principal, poster: posterOf(principal), raw, refused: [], samples: [], watermarks: [], numbers: [] };
    const mine = ownSource(principal);
    for (const [index, one] of raw.entries()) {
      const parsed = parseUsageEvent(one);
      const numbered = parsed.ok ? { source: parsed.event.source, number: parsed.event.sequence } : parsed.numbered;
      if (numbered && numbered.number > 0n && (mine === null || numbered.source === mine)) reading.numbers.push(numbered);
      if (!parsed.ok) reading.refused.push(rejected(index, parsed.id, parsed));
      else if (mine !== null && parsed.event.source !== mine)
        reading.refused.push(
          rejected(index, parsed.event.id, { code: 'usage.foreign_source', detail: 'this key does not speak for that source' }),
        );
      else if (parsed.event.type === 'watermark') reading.watermarks.push({ index, event: parsed.event });
      else reading.samples.push({ index, event: parsed.event, hash: sha256Hex(canonicalJson(one)) });
    }
    return reading;
  }

  /** All of these requests in one transaction, or nothing of any. */
  private async commit(readings: readonly Reading[]): Promise<IngestResult[][]> {
    const now = toUs(this.deps.clock.now());
    const answers = readings.map((r) => {
      const results = new Array<IngestResult>(r.raw.length);
      for (const one of r.refused) results[one.index] = one;
      return results;
    });
    const placed = await this.place(readings, answers, now);
    await this.days.ensure(placed.map((r) => r.event.at));
    const tenantIds = [...new Set(placed.map((r) => r.tenantId))];
    const fence = sharedShardsSql([...new Set(placed.map((r) => r.subscriptionId))].map(shardOf));
    const holders = await this.deps.db.intakeNamed(tenantIds, fence, async (tx) => {
      const holders = await this.uplinks.claim(tx, placed);
      const rows = placed.filter((r) => Uplinks.holds(holders, r));
      for (const { request, index, event } of placed.length > rows.length ? placed : [])
        answers[request]![index] = rejected(index, event.id, {
          code: 'usage.duplicate_uplink',
          detail: 'another key has reported this hour of the source',
        });
      await storeAll(tx, rows, answers, now);
      // After the samples and in the same commit: a watermark never speaks for a sample that is not there.
      await noteNumbers(tx, numbersOf(readings));
      await this.takeMarks(tx, readings, answers, now);
      return holders;
    });
    this.uplinks.remember(holders);
    return answers;
  }

  /** Finds the binding of each sample; refuses, into the answers, what is not the poster's to report. */
  private async place(readings: readonly Reading[], answers: IngestResult[][], now: bigint): Promise<PlacedRow[]> {
    const placements = new Set(readings.flatMap((r) => r.samples.map((s) => s.event.placementId)));
    if (placements.size === 0) return [];
    const bindings = new Bindings(await readBindings(this.deps.db, [...placements]));
    const rows: PlacedRow[] = [];
    const tooOld: { event: SampleEvent; binding: Binding }[] = [];
    for (const [request, { principal, poster, samples }] of readings.entries()) {
      for (const { index, event, hash } of samples) {
        const placed = bindings.place(principal, event, now);
        if ('binding' in placed) {
          const { tenantId, subscriptionId } = placed.binding;
          rows.push({
            key: `${poster}\u0000${event.source}\u0000${event.id}`,
            poster,
            event,
            tenantId,
            subscriptionId,
            hash,
            request,
            index,
          });
          continue;
        }
        answers[request]![index] = rejected(index, event.id, placed.refused);
        if (placed.tooOld) tooOld.push({ event, binding: placed.tooOld });
      }
    }
    if (tooOld.length > 0) await this.deps.db.ops((tx) => nameTooOld(this.deps, tx, tooOld));
    return rows;
  }

  private async takeMarks(tx: Pick<Tx, 'query'>, readings: readonly Reading[], answers: IngestResult[][], now: bigint): Promise<void> {
    const bySource = new Map<string, { event: WatermarkEvent; index: number; request: number; poster: string }[]>();
    for (const [request, { watermarks, poster }] of readings.entries()) {
      for (const { index, event } of watermarks) {
        const refused = refusedTime(event.through, now);
        if (refused?.code === 'usage.time_in_future') answers[request]![index] = rejected(index, event.id, refused);
        else bySource.set(event.source, [...(bySource.get(event.source) ?? []), { event, index, request, poster }]);
      }
    }
    // One order for all who move watermarks.
    for (const [source, marks] of [...bySource].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const fresh = await takeWatermarks(tx, source, marks, now);
      for (const [i, { request, index, event }] of marks.entries())
        answers[request]![index] = { index, id: event.id, outcome: fresh[i] ? 'accepted' : 'duplicate' };
    }
  }

  private count(results: IngestResult[]): void {
    const counter = this.deps.metrics?.counter('berth_usage_events_total', 'Usage events by outcome', ['outcome']);
    if (!counter) return;
    const by = new Map<string, number>();
    for (const { outcome } of results) by.set(outcome, (by.get(outcome) ?? 0) + 1);
    for (const [outcome, n] of by) counter.inc({ outcome }, n);
  }
}

const rejected = (index: number, id: string, { code, detail }: Rejection): IngestResult => ({
  index,
  id,
  outcome: 'rejected',
  code,
  detail,
});

/** Of the same id in one group the first is stored; the others are repeats of it, or conflicts. */
async function storeAll(tx: Pick<Tx, 'query'>, rows: readonly PlacedRow[], answers: IngestResult[][], now: bigint): Promise<void> {
  const first = new Map<string, PlacedRow>();
  for (const row of rows) if (!first.has(row.key)) first.set(row.key, row);
  const inOrder = [...first.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  const seen = await storeSamples(tx, inOrder, now);
  for (const row of rows) {
    const { key, request, index, event, hash } = row;
    const holder = first.get(key)!;
    const fresh = !seen.has(key);
    answers[request]![index] =
      holder === row && fresh
        ? { index, id: event.id, outcome: 'accepted' }
        : (fresh ? holder.hash : seen.get(key)) === hash
          ? { index, id: event.id, outcome: 'duplicate' }
          : { index, id: event.id, outcome: 'conflict', code: 'usage.duplicate_id', detail: 'this id was used for another event' };
  }
}

function numbersOf(readings: readonly Reading[]): Map<string, bigint[]> {
  const numbers = new Map<string, bigint[]>();
  for (const r of readings) {
    for (const { source, number } of r.numbers) {
      const known = numbers.get(source);
      if (known) known.push(number);
      else numbers.set(source, [number]);
    }
  }
  return numbers;
}
