import type { Tx } from '#platform';
import { AGE_LIMIT } from '../domain/usage-event.js';
import { instantText, toUs, US_PER_HOUR } from '../domain/units.js';
import type { UsageDays } from '../infra/usage-days.js';
import type { MeteringDeps } from './deps.js';
import { foldNumbers } from './watermarks.js';

/** An event may be posted until it is 35 days old, and up to 5 minutes before its time: its id is kept a little longer than both. */
const ID_KEPT = AGE_LIMIT + US_PER_HOUR;
/** Raw samples are the evidence of what was billed, and a ledger is rebuilt from them: 13 months, as long as finance asks back. */
const DAYS_KEPT = 400;
/** The first sample of a binding is compared with one up to 35 days before it. */
const LEAST_DAYS_KEPT = 71;
const BATCH = 5_000;
const BATCHES_PER_RUN = 20;

/**
 * The clock that forgets: ids of events that are too old to come again, and days of samples past their retention. Once an hour
 * of business time; each step is short, so that intake goes on beside it.
 */
export class PruneUsage {
  private next = 0n;

  constructor(
    private readonly deps: MeteringDeps,
    private readonly days: UsageDays,
  ) {}

  async tick(): Promise<number> {
    const now = toUs(this.deps.clock.now());
    if (now < this.next) return 0;
    const done = await this.run();
    // A full run has left something: it goes on at the next tick.
    if (done.ids < BATCH * BATCHES_PER_RUN) this.next = now + US_PER_HOUR;
    return 0;
  }

  /** Answers how many ids and which days went. */
  async run(): Promise<{ ids: number; days: string[] }> {
    const now = toUs(this.deps.clock.now());
    await this.deps.db.ops((tx) => foldNumbers(tx));
    await this.deps.db.ops((tx) =>
      tx.query('delete from usage_uplinks where hour < $1::timestamptz', [instantText(now - ID_KEPT - US_PER_HOUR)]),
    );
    let ids = 0;
    for (let n = 0; n < BATCHES_PER_RUN; n++) {
      const gone = await this.deps.db.ops((tx) => pruneIds(tx, now));
      ids += gone;
      if (gone < BATCH) break;
    }
    return { ids, days: await this.dropDays(now) };
  }

  private async dropDays(now: bigint): Promise<string[]> {
    const kept = Math.max(this.deps.options?.usageDaysKept ?? DAYS_KEPT, LEAST_DAYS_KEPT);
    const until = instantText(now - BigInt(kept) * 24n * US_PER_HOUR);
    const days = await this.deps.db.ops((tx) =>
      tx.query<{ day: string }>(
        `select d::text as day from usage_days() d where (d + 1)::timestamp at time zone 'UTC' <= $1::timestamptz`,
        [until],
      ),
    );
    const dropped: string[] = [];
    for (const { day } of days) {
      try {
        // A transaction each: who reads a day is waited for a moment only, and the next run tries again.
        const gone = await this.deps.db.ops(async (tx) => {
          await tx.query(`set local lock_timeout = '2s'`);
          if (await unsettled(tx, day)) return false;
          const [row] = await tx.query<{ gone: boolean }>('select drop_usage_day($1::date) as gone', [day]);
          return row!.gone;
        });
        if (gone) dropped.push(day);
      } catch (error) {
        if ((error as { code?: string }).code !== '55P03') throw error;
      }
    }
    this.days.forget(dropped);
    if (dropped.length > 0) this.deps.logger.info({ days: dropped }, 'days of usage events past their retention were dropped');
    return dropped;
  }
}

async function pruneIds(tx: Tx, now: bigint): Promise<number> {
  const gone = await tx.query(
    `delete from usage_dedupe where (principal, source, event_id) in (
       select principal, source, event_id from usage_dedupe where received_at < $1::timestamptz order by received_at limit ${BATCH}) returning 1`,
    [instantText(now - ID_KEPT)],
  );
  return gone.length;
}

/**
 * Something of the day's hours is not done with: a series has not closed them, samples came late and are not absorbed, an item
 * has no outcome, an amount is still carried, or a person has not settled a finding whose evidence lies there (a missing price's
 * does not).
 */
async function unsettled(tx: Tx, day: string): Promise<boolean> {
  const [row] = await tx.query<{ open: boolean }>(
    `select exists (select 1 from series where completed_at is null and next_hour < d.until)
         or exists (select 1 from late_arrivals where hour < d.until)
         or exists (select 1 from submission_items where settled_at is null and hour < d.until)
         or exists (select 1 from carry_ins where consumed_by_hour is null and from_hour >= d.since and from_hour < d.until)
         or exists (select 1 from findings where settled_at is null and kind <> 'price_unknown' and hour >= d.since and hour < d.until) as open
       from (select $1::date::timestamp at time zone 'UTC' as since, ($1::date + 1)::timestamp at time zone 'UTC' as until) d`,
    [day],
  );
  return row!.open;
}
