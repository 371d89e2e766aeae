import { Grouped, type Tx } from '#platform';
import { shardOf } from '../domain/merkle.js';
import { refusedTime, type Rejection, type SampleEvent, type WatermarkEvent } from '../domain/usage-event.js';
import { toUs } from '../domain/units.js';
import { joinRuns, type NumberRun } from '../domain/watermarks.js';
import { KnownBindings } from '../infra/known-bindings.js';
import { sharedShards } from '../infra/locks.js';
import { inKeyOrder, storedHashes, storeSamples, type RunStatement } from '../infra/store-samples.js';
import { Uplinks } from '../infra/uplinks.js';
import type { UsageDays } from '../infra/usage-days.js';
import type { MeteringDeps } from './deps.js';
import type { Binding, IngestResult, UsagePrincipal } from './intake-types.js';
import { MetricKinds, refusedKind } from './metric-kinds.js';
import { placeSample } from './place-samples.js';
import { readUsage, rejected, type PostedSample, type Reading } from './read-usage.js';
import { keepRejected, nameTooOld } from './refused-usage.js';
import { takeWatermarks } from './watermarks.js';

/** How many events one commit takes, and how many may wait in memory: of all, and of one poster. */
const BOUNDS = { groups: 2, perGroup: 2_000, waiting: 50_000, each: 20_000 };

/**
 * Takes usage events: every event gets an answer, and the answer is given after commit (architecture §5.8). Requests that come
 * together share a commit, over tenants and posters (ADR 0016).
 */
export class IngestUsage {
  private readonly storing: Grouped<Reading, IngestResult[]>;
  private readonly uplinks = new Uplinks();
  private readonly bindings: KnownBindings;
  private readonly kinds: MetricKinds;

  constructor(
    private readonly deps: MeteringDeps,
    private readonly days: UsageDays,
  ) {
    this.bindings = new KnownBindings(deps.db);
    this.kinds = new MetricKinds(deps.db);
    const bounds = { ...BOUNDS, ...deps.options?.intake };
    this.storing = new Grouped(
      (readings) => this.commit(readings),
      async (reading) => (await this.commit([reading]))[0]!,
      { ...bounds, beside: bounds.perGroup / 4, weigh: (r) => r.size, of: (r) => r.poster },
    );
  }

  /** Throws `request.overloaded` (503) or `request.too_many_waiting` (429): nothing of the request was stored. */
  async run(principal: UsagePrincipal, events: unknown[]): Promise<{ results: IngestResult[] }> {
    const reading = readUsage(principal, events);
    const results = reading.refused.length < reading.size || reading.numbers.size > 0 ? await this.storing.run(reading) : reading.refused;
    const refused = results.filter((r) => r.outcome === 'rejected' || r.outcome === 'conflict');
    if (refused.length > 0) await keepRejected(this.deps, reading.poster, events, refused, toUs(this.deps.clock.now()));
    this.count(results);
    return { results };
  }

  /** All of these requests in one transaction, or nothing of any. */
  private async commit(readings: readonly Reading[]): Promise<IngestResult[][]> {
    const marked = readings.some((r) => r.watermarks.length > 0);
    return (marked ? null : await this.store(readings, { remembered: true })) ?? (await this.store(readings, { remembered: false }))!;
  }

  /** `remembered`: by what is known of their bindings, in one round trip; null where that does not do, and then nothing was done. */
  private async store(readings: readonly Reading[], { remembered }: { remembered: boolean }): Promise<IngestResult[][] | null> {
    const { db } = this.deps;
    const now = toUs(this.deps.clock.now());
    const answers = readings.map((r) => {
      const results = new Array<IngestResult>(r.size);
      for (const one of r.refused) results[one.index] = one;
      return results;
    });
    const found = await this.place(readings, answers, now, remembered);
    if (!found) return null;
    const { placed, open } = found;
    await this.days.ensure(placed.map((r) => r.event.at));
    const owners = [...new Set(placed.map((r) => r.binding))];
    const tenantIds = [...new Set(owners.map((b) => b.tenantId))];
    const fence = sharedShards(new Set(owners.map((b) => shardOf(b.subscriptionId))));
    const uplinks = this.uplinks.look(placed);
    const marked = readings.some((r) => r.watermarks.length > 0);
    const numbers = numbersOf(readings);
    let rows: PostedSample[] = [];
    const storeRows = (run: RunStatement): Promise<PostedSample[] | null> => {
      rows = heldRows(placed, uplinks.holders, answers).sort(inKeyOrder);
      const first = rows.filter((row, i) => i === 0 || inKeyOrder(rows[i - 1]!, row) !== 0);
      return storeSamples(run, first, { numbers, open, now });
    };
    let seen: PostedSample[] | null;
    if (uplinks.open.size === 0 && !marked) seen = await storeRows((sql, values) => db.intakeOnce(tenantIds, fence, sql, values));
    // What else is written would stand, also where the samples do not.
    else if (remembered) return null;
    else
      seen = await db.intakeNamed(tenantIds, fence, async (tx) => {
        await Uplinks.claim(tx, uplinks);
        const seen = await storeRows((sql, values) => (marked ? tx.query(sql, values) : tx.finish(sql, values)));
        // After the samples and in the same commit: a watermark never speaks for a sample that is not there.
        if (marked) await takeMarks(tx, readings, answers, now);
        return seen;
      });
    if (!seen) return null;
    this.uplinks.remember(uplinks.holders);
    const hashes = seen.length > 0 ? await storedHashes((sql, values) => db.intakeOnce(tenantIds, null, sql, values), seen) : NO_HASHES;
    answerRows(rows, new Set(seen), hashes, answers);
    return answers;
  }

  /**
   * Finds the binding of each sample; refuses, into the answers, what is not the poster's to report. `open`: bindings that were
   * taken from memory, which `remembered` allows; null where something would be refused by such.
   */
  private async place(
    readings: readonly Reading[],
    answers: IngestResult[][],
    now: bigint,
    remembered: boolean,
  ): Promise<{ placed: PostedSample[]; open: ReadonlySet<Binding> } | null> {
    const placements = new Set<string>();
    for (const { samples } of readings) for (const { event } of samples) placements.add(event.placementId);
    if (placements.size === 0) return { placed: [], open: new Set() };
    const { byPlacement, known } = await this.bindings.read(placements, { remembered });
    const kinds = await this.kinds.read(now);
    const rows: PostedSample[] = [];
    const open = new Set<Binding>();
    const tooOld: { event: SampleEvent; binding: Binding }[] = [];
    for (const [request, { principal, samples }] of readings.entries()) {
      for (const sample of samples) {
        const { placementId } = sample.event;
        const placed = placeSample(principal, sample.event, byPlacement.get(placementId), now);
        const last = known.get(placementId);
        if ('refused' in placed) {
          // A loss is named once: by the try that nothing comes after.
          if (last || (remembered && placed.tooOld)) return null;
          answers[request]![sample.index] = rejected(sample.index, sample.event.id, placed.refused);
          if (placed.tooOld) tooOld.push({ event: sample.event, binding: placed.tooOld });
          continue;
        }
        const misread = refusedKind(sample.event, kinds);
        if (misread) {
          answers[request]![sample.index] = rejected(sample.index, sample.event.id, misread);
          continue;
        }
        if (last) open.add(last);
        sample.request = request;
        sample.binding = placed;
        rows.push(sample);
      }
    }
    if (tooOld.length > 0) await this.deps.db.ops((tx) => nameTooOld(this.deps, tx, tooOld));
    return { placed: rows, open };
  }

  private count(results: readonly IngestResult[]): void {
    const counter = this.deps.metrics?.counter('berth_usage_events_total', 'Usage events by outcome', ['outcome']);
    if (!counter) return;
    const by = new Map<string, number>();
    for (const { outcome } of results) by.set(outcome, (by.get(outcome) ?? 0) + 1);
    for (const [outcome, n] of by) counter.inc({ outcome }, n);
  }
}

const NO_HASHES: ReadonlyMap<PostedSample, string> = new Map();
const DUPLICATE_UPLINK: Rejection = { code: 'usage.duplicate_uplink', detail: 'another key has reported this hour of the source' };

/** Those whose poster holds the hour of their source; refuses the others, into the answers. */
function heldRows(placed: readonly PostedSample[], holders: ReadonlyMap<string, string>, answers: IngestResult[][]): PostedSample[] {
  return placed.filter((row) => {
    const held = Uplinks.holds(holders, row);
    if (!held) answers[row.request]![row.index] = rejected(row.index, row.event.id, DUPLICATE_UPLINK);
    return held;
  });
}

/** Of the same id in one group the first is stored; the others are repeats of it, or conflicts. The rows are in order of keys. */
function answerRows(
  rows: readonly PostedSample[],
  seen: ReadonlySet<PostedSample>,
  hashes: ReadonlyMap<PostedSample, string>,
  answers: IngestResult[][],
): void {
  let first: PostedSample | undefined;
  for (const row of rows) {
    if (!first || inKeyOrder(first, row) !== 0) first = row;
    const { index, hash } = row;
    const { id } = row.event;
    const fresh = !seen.has(first);
    answers[row.request]![index] =
      first === row && fresh
        ? { index, id, outcome: 'accepted' }
        : (fresh ? first.hash : hashes.get(first)) === hash
          ? { index, id, outcome: 'duplicate' }
          : { index, id, outcome: 'conflict', code: 'usage.duplicate_id', detail: 'this id was used for another event' };
  }
}

async function takeMarks(tx: Pick<Tx, 'query'>, readings: readonly Reading[], answers: IngestResult[][], now: bigint): Promise<void> {
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

function numbersOf(readings: readonly Reading[]): Map<string, NumberRun[]> {
  const numbers = new Map<string, NumberRun[]>();
  for (const r of readings) for (const [source, runs] of r.numbers) numbers.set(source, [...(numbers.get(source) ?? []), ...runs]);
  for (const [source, runs] of numbers) numbers.set(source, joinRuns(runs));
  return numbers;
}
