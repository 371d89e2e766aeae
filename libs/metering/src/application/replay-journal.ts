import { ProblemError, type Clock, type Database, type Logger, type Tx } from '#platform';
import type { Marketplace, UsageTraits } from '#marketplaces/core';
import {
  parseLine,
  type AbsorbLine,
  type CarryLine,
  type CloseLine,
  type EntryLine,
  type FactsLine,
  type JournalLine,
  type JournalPlan,
  type OutcomeLine,
  type SampleLine,
} from '../domain/journal.js';
import { merkleRoot } from '../domain/merkle.js';
import { fromUs, instantText } from '../domain/units.js';
import { purchaseLedgers } from '../infra/ledger-hash.sql.js';
import { claimShard } from '../infra/locks.js';
import { noteLate, putEmission, putFacts, putOutcomes, putPlan, putPrice, putSamples, standingStill } from '../infra/replay.sql.js';
import { seriesAt, type SeriesRow } from '../infra/series.sql.js';
import { UsageDays } from '../infra/usage-days.js';
import { writeCarryIns, writeEntries, type EntryRow } from '../infra/write-ledger.js';
import { absorbLate } from './absorb-late.js';
import { ShardCloser } from './close-shard.js';
import type { ClosingAdapter, ClosingDeps } from './deps.js';
import { newMeters, type NewMeters } from './new-meters.js';
import { checkReplayedSumLaw } from './sum-law.js';
import { syncSeries } from './sync-series.js';

export interface ReplayOptions {
  /** Empty but for its schema. */
  db: Database;
  /** What this build knows of each marketplace's usage. */
  traits: Partial<Record<Marketplace, UsageTraits>>;
  logger: Logger;
  /** Another catalog's reading of a plan version. With it the answers of the marketplaces, which were to other amounts, are left out. */
  plans?: (plan: JournalPlan) => JournalPlan;
  /** Hears of the progress: lines read, and the hour being closed. */
  told?: (lines: number, hour: string) => void;
}

export interface Replayed {
  ledgerHash: string;
  purchases: number;
  /** Purchases whose ledger is not as the journal says, and those that only one side has. Empty where the hashes are equal. */
  different: string[];
  /** Sentences; empty where the sum law holds. Not looked at with another catalog. */
  sumLaw: string[];
}

const SAMPLES_AT_ONCE = 5_000;

/**
 * Feeds a checked journal to an empty database, and lets the closing code of this build close the same hours in the same order.
 * It has no marketplace, no tasks and no calls: only traits (`ClosingDeps`), so nothing of it can be sent.
 */
export async function replayJournal(lines: AsyncIterable<string>, options: ReplayOptions): Promise<Replayed> {
  return new Replay(options).run(lines);
}

/** A marketplace without a wire. */
const traitsOnly = (marketplace: Marketplace, usage: UsageTraits): ClosingAdapter => ({
  marketplace,
  usage,
  deadlines: ({ hourEnd }) => ({ target: hourEnd, hard: hourEnd }),
  buildUsageItem: () => {
    throw new Error('a replay sends nothing');
  },
  batchKey: () => '',
});

class Replay {
  private at = new Date(0);
  private readonly clock: Clock = { now: () => this.at };
  private readonly deps: ClosingDeps;
  private readonly closer: ShardCloser;
  private readonly days: UsageDays;
  private readonly plans = new Map<string, JournalPlan>();
  private readonly meters: NewMeters = newMeters();
  private samples: SampleLine[] = [];
  private facts: FactsLine[] = [];
  private entries: EntryLine[] = [];
  private outcomes: OutcomeLine[] = [];
  private readonly expected = new Map<string, string>();
  private readonly wrong: string[] = [];
  private lines = 0;

  constructor(private readonly options: ReplayOptions) {
    const { db, logger, traits } = options;
    const known = Object.entries(traits).map(([name, usage]) => traitsOnly(name as Marketplace, usage));
    this.deps = { db, logger, clock: this.clock, marketplaces: { all: () => known } };
    this.closer = new ShardCloser(this.deps);
    this.days = new UsageDays(db);
  }

  async run(lines: AsyncIterable<string>): Promise<Replayed> {
    for await (const text of lines) await this.take(parseLine(text, (this.lines += 1)));
    await this.flush();
    await this.flushMoves();
    return this.options.db.ops(async (tx) => {
      await tx.query('set local statement_timeout = 0');
      const hashes: string[] = [];
      const different: string[] = [];
      for await (const p of purchaseLedgers(tx)) {
        hashes.push(p.hash);
        if (this.expected.get(p.subscriptionId) !== p.hash) different.push(p.subscriptionId);
        this.expected.delete(p.subscriptionId);
      }
      const law = this.options.plans ? null : await checkReplayedSumLaw(tx);
      const broken = (law?.series ?? []).flatMap((s) => [
        ...(s.difference === 0n ? [] : [`${s.subscriptionId} ${s.meter}: off by ${s.difference}`]),
        ...s.missing.map((m) => `${s.subscriptionId} ${s.meter}: ${m}`),
      ]);
      return {
        ledgerHash: merkleRoot(hashes),
        purchases: hashes.length,
        different: [...different, ...this.expected.keys()].sort(),
        sumLaw: [...this.wrong, ...broken],
      };
    });
  }

  private async take(line: JournalLine): Promise<void> {
    switch (line.line) {
      case 'plan':
        return this.plan(line.plan);
      case 'emission':
        return this.options.db.ops((tx) => putEmission(tx, line));
      case 'price':
        return this.options.db.ops((tx) => putPrice(tx, line));
      case 'sample':
        this.samples.push(line);
        return this.samples.length >= SAMPLES_AT_ONCE ? this.flush() : undefined;
      case 'facts':
        return void this.facts.push(line);
      case 'absorb':
        return this.absorb(line);
      case 'close':
        return this.close(line);
      case 'entry':
        if (this.options.plans) return;
        if (this.entries.length >= 500 || (this.entries.length > 0 && this.entries[0]!.at !== line.at)) await this.flushMoves();
        return void this.entries.push(line);
      case 'carry':
        return this.carry(line);
      case 'outcome':
        if (this.options.plans) return;
        this.outcomes.push(line);
        return this.outcomes.length >= 500 ? this.flushMoves() : undefined;
      case 'purchase':
        return void this.expected.set(line.subscriptionId, line.hash);
      default:
    }
  }

  private async plan(asItWas: JournalPlan): Promise<void> {
    if (!this.options.traits[asItWas.marketplace])
      throw new ProblemError(
        'validation',
        'replay.unknown_marketplace',
        `This build does not know the marketplace ${asItWas.marketplace}.`,
      );
    const plan = this.options.plans?.(asItWas) ?? asItWas;
    this.plans.set(plan.planVersionId, plan);
    this.meters.plan(asItWas);
    await this.options.db.ops((tx) => putPlan(tx, plan));
  }

  /** What came in before the next step of a closer. */
  private async flush(): Promise<void> {
    const { samples, facts } = this;
    this.samples = [];
    this.facts = [];
    if (samples.length > 0) {
      await this.days.ensure(samples.map((s) => BigInt(s.at)));
      await this.options.db.ops((tx) => putSamples(tx, samples));
    }
    if (facts.length === 0) return;
    for (const f of facts) this.meters.facts(f);
    await this.options.db.ops(async (tx) => {
      await putFacts(tx, facts, (id) => this.plans.get(id)?.externalOfferId ?? '');
      await syncSeries(tx, this.deps, [...new Set(facts.map((f) => f.subscriptionId))]);
    });
  }

  private async close(line: CloseLine): Promise<void> {
    await this.flush();
    this.at = fromUs(BigInt(line.at));
    const hour = BigInt(line.hour);
    this.options.told?.(this.lines, instantText(hour));
    await this.options.db.ops(async (tx) => {
      await claimShard(tx, line.shard);
      for (let done = ''; ;) {
        const ready = await this.readyFor(tx, line);
        const next = ready.map((s) => `${s.subscriptionId}/${s.meter}/${s.nextHour}`).join();
        if (ready.length === 0 || next === done) return;
        done = next;
        await this.closer.close(tx, line.shard, ready[0]!.nextHour, ready, BigInt(line.at), line.rules ?? 1);
        await this.refuseStanding(tx, line.shard, instantText(hour));
        if (!this.options.plans) return;
      }
    });
  }

  /**
   * What the step closed. Another catalog's meters may begin in hours whose steps are past (a change of plan that was told late):
   * they catch up, oldest hour first.
   */
  private async readyFor(tx: Tx, line: CloseLine): Promise<SeriesRow[]> {
    const hour = BigInt(line.hour);
    const watermarks = new Map(line.closed.map((c) => [`${c.subscriptionId}/${c.meter}`, c.watermark]));
    const all = (await seriesAt(tx, line.shard, hour, [...new Set(line.closed.map((c) => c.subscriptionId))])).filter(
      (s) => watermarks.has(`${s.subscriptionId}/${s.meter}`) || this.meters.closesWith(s, line),
    );
    const next = this.options.plans ? all.reduce((least, s) => (s.nextHour < least ? s.nextHour : least), hour) : hour;
    return all
      .filter((s) => s.nextHour === next)
      .map((s) => {
        const behind = watermarks.get(`${s.subscriptionId}/${s.meter}`);
        return { ...s, watermark: behind == null ? null : BigInt(behind) };
      });
  }

  private async absorb(line: AbsorbLine): Promise<void> {
    await this.flush();
    this.at = fromUs(BigInt(line.at));
    await this.options.db.ops(async (tx) => {
      await claimShard(tx, line.shard);
      await noteLate(tx, line.absorbed);
      await absorbLate(tx, this.deps, line.shard, BigInt(line.at));
      await this.refuseStanding(tx, line.shard, instantText(BigInt(line.at)));
    });
  }

  private async refuseStanding(tx: Tx, shard: number, when: string): Promise<void> {
    const still = await standingStill(tx, shard);
    if (still)
      throw new ProblemError(
        'conflict',
        'replay.cannot_close',
        `${still.meter} of ${still.subscriptionId} cannot be closed at ${when}: ${still.reason}`,
      );
  }

  private async carry(line: CarryLine): Promise<void> {
    await this.flush();
    const { subscriptionId, meter, tenantId, segmentId, kind, stage, cause, origin, fromHour, amount } = line;
    const row = {
      series: { subscriptionId, meter, tenantId },
      segmentId,
      kind,
      stage,
      cause,
      origin,
      fromHour: BigInt(fromHour),
      amount: BigInt(amount),
    };
    await this.options.db.ops((tx) => writeCarryIns(tx, [row], fromUs(BigInt(line.at)), 'outside'));
  }

  private async flushMoves(): Promise<void> {
    const { entries, outcomes } = this;
    this.entries = [];
    this.outcomes = [];
    await this.options.db.ops(async (tx) => {
      await writeEntries(tx, entries.map(entryRow), fromUs(BigInt(entries[0]?.at ?? '0')), 'outside');
      const found = await putOutcomes(tx, outcomes);
      if (found < outcomes.length) this.wrong.push(`${outcomes.length - found} answers are to submissions that were not made again`);
    });
  }
}

const entryRow = (e: EntryLine): EntryRow => ({
  series: { subscriptionId: e.subscriptionId, meter: e.meter, tenantId: e.tenantId },
  hour: BigInt(e.hour),
  segmentId: e.segmentId,
  term: e.term as EntryRow['term'],
  cause: e.cause,
  ref: e.ref,
  quantity: BigInt(e.quantity),
});
