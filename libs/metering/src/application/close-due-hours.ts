import { errorText, mayPass } from '#platform';
import { toUs, US_PER_HOUR } from '../domain/units.js';
import { claimShard } from '../infra/locks.js';
import { dueSeries, dueShards, readySeries, type HoldLimit, type ShardHour } from '../infra/series.sql.js';
import type { UsageDays } from '../infra/usage-days.js';
import { absorbLate } from './absorb-late.js';
import { blockSeries } from './block-series.js';
import { ShardCloser } from './close-shard.js';
import type { MeteringDeps } from './deps.js';
import { Failures } from './failures.js';
import { setApart } from './set-apart.js';
import { settleClosing } from './settle.js';
import { syncAllSeries } from './sync-series.js';
import { countWaiting } from './watermarks.js';

/** One tick closes at most so many (hour, shard) claims; what is left is due at the next. */
const CLAIMS_PER_TICK = 2_000;
/** While the database works for one shard, this process calculates another. */
const SHARDS_AT_ONCE = 2;
const SERIES_AT_ONCE = 2_000;

const nameOf = (d: ShardHour): string => `${d.shard}/${d.hour}`;

/** The clock that closes hours: for each (hour, shard) that is due one transaction, oldest hour first (architecture §7 "Closing"). */
export class CloseDueHours {
  private readonly closer: ShardCloser;
  private readonly atOnce: number;
  constructor(
    private readonly deps: MeteringDeps,
    private readonly days: UsageDays,
  ) {
    this.closer = new ShardCloser(deps);
    this.atOnce = deps.options?.seriesAtOnce ?? SERIES_AT_ONCE;
  }

  async run(): Promise<number> {
    const { db, clock } = this.deps;
    const now = toUs(clock.now());
    await this.days.ensure([now - US_PER_HOUR, now, now + 24n * US_PER_HOUR, now + 48n * US_PER_HOUR]);
    const failures = new Failures(this.deps);
    let done = await syncAllSeries(this.deps, failures);
    done += await db.ops((tx) => countWaiting(tx, now));
    // What was tried without effect in this tick: another worker is at it, or a source holds it back.
    const tried = new Set<string>();
    for (let claims = 0; claims < CLAIMS_PER_TICK;) {
      const due = (await db.ops((tx) => dueShards(tx, now))).filter((d) => !tried.has(nameOf(d)));
      if (due.length === 0) break;
      // All shards of the oldest hour, then ask again: closing one hour makes the next one due.
      const oldest = due[0]!.hour;
      const shards = due.filter((x) => x.hour === oldest);
      const closeNext = async (): Promise<void> => {
        for (let d = shards.shift(); d; d = shards.shift()) {
          claims += 1;
          const { shard, hour } = d;
          const n = await failures.hold(nameOf(d), () => this.claimAll(shard, hour, now));
          if (n === 0 || hour === null) tried.add(nameOf(d));
          done += n;
        }
      };
      await Promise.all(Array.from({ length: SHARDS_AT_ONCE }, closeNext));
    }
    done += await settleClosing(this.deps);
    failures.tell();
    return done;
  }

  private limits(): HoldLimit[] {
    return this.deps.marketplaces
      .all()
      .map((a) => ({ marketplace: a.marketplace, hold_minutes: a.usage.holdLimitMinutes, final_minutes: a.usage.finalHoldMinutes }));
  }

  /** A large shard in several transactions, each with a root of its own. */
  private async claimAll(shard: number, hour: bigint | null, now: bigint): Promise<number> {
    let done = 0;
    for (;;) {
      const n = await this.claim(shard, hour, now).catch((error: unknown) => {
        if (hour === null || mayPass(error)) throw error;
        return this.closeApart(shard, hour, now, error);
      });
      done += n;
      if (hour === null || n < this.atOnce) return done;
    }
  }

  /** `only`: of these purchases; null: of all. */
  private claim(shard: number, hour: bigint | null, now: bigint, only: readonly string[] | null = null): Promise<number> {
    return this.deps.db.ops(async (tx) => {
      if (!(await claimShard(tx, shard))) return 0;
      const late = await absorbLate(tx, this.deps, shard, now);
      if (hour === null) return late;
      const ready = await readySeries(tx, now, this.limits(), shard, hour, this.atOnce, only);
      return late + (await this.closer.close(tx, shard, hour, ready, now));
    });
  }

  /** An hour of a shard that cannot be written as a whole: who is in its way stands still and says so, the others close. */
  private async closeApart(shard: number, hour: bigint, now: bigint, error: unknown): Promise<number> {
    const { db, logger } = this.deps;
    logger.warn(
      { shard: `${shard}/${hour}`, err: errorText(error) },
      'an hour of a shard cannot be closed as a whole: purchase by purchase',
    );
    const due = await db.ops((tx) => dueSeries(tx, now, shard, hour));
    const { done, culprits } = await setApart([...new Set(due.map((s) => s.subscriptionId))], (ids) => this.claim(shard, hour, now, ids));
    for (const s of due) {
      const culprit = culprits.get(s.subscriptionId);
      if (culprit !== undefined) await db.ops((tx) => blockSeries(tx, this.deps, s, errorText(culprit), now));
    }
    return done;
  }
}
