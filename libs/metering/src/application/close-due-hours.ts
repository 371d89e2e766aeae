import { toUs, US_PER_HOUR } from '../domain/units.js';
import { claimShard } from '../infra/locks.js';
import { dueShards, readySeries, type HoldLimit, type ShardHour } from '../infra/series.sql.js';
import type { UsageDays } from '../infra/usage-days.js';
import { absorbLate } from './absorb-late.js';
import { ShardCloser } from './close-shard.js';
import type { MeteringDeps } from './deps.js';
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
    let done = await syncAllSeries(this.deps);
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
          const n = await this.claimAll(d.shard, d.hour, now);
          if (n === 0 || d.hour === null) tried.add(nameOf(d));
          done += n;
        }
      };
      await Promise.all(Array.from({ length: SHARDS_AT_ONCE }, closeNext));
    }
    done += await settleClosing(this.deps);
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
      const n = await this.claim(shard, hour, now);
      done += n;
      if (hour === null || n < this.atOnce) return done;
    }
  }

  private claim(shard: number, hour: bigint | null, now: bigint): Promise<number> {
    return this.deps.db.ops(async (tx) => {
      if (!(await claimShard(tx, shard))) return 0;
      const late = await absorbLate(tx, this.deps, shard, now);
      if (hour === null) return late;
      const ready = await readySeries(tx, now, this.limits(), shard, hour, this.atOnce);
      return late + (await this.closer.close(tx, shard, hour, ready, now));
    });
  }
}
