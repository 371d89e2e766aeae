import type { Database, Tx } from '#platform';
import { floorDiv, instantText, US_PER_HOUR } from '../domain/units.js';

const DAY = 24n * US_PER_HOUR;
const dayText = (day: bigint): string => instantText(day * DAY).slice(0, 10);

/** Days of `usage_events`: made ahead by the closer, on demand by whoever writes. In a transaction of its own, so that a batch that fails takes no day with it. */
export class UsageDays {
  private readonly known = new Set<string>();
  constructor(private readonly db: Database) {}

  async ensure(instants: Iterable<bigint>): Promise<void> {
    const days = new Set<bigint>();
    let day: bigint | undefined;
    for (const us of instants) if (day === undefined || us < day * DAY || us >= (day + 1n) * DAY) days.add((day = floorDiv(us, DAY)));
    // Neighbours too: the next batch is likely theirs.
    const wanted = new Set([...days].flatMap((d) => [d - 1n, d, d + 1n]));
    const missing = [...wanted]
      .map(dayText)
      .filter((d) => !this.known.has(d))
      .sort();
    if (missing.length === 0) return;
    await this.db.ops(async (tx) => {
      await tx.query(`set local lock_timeout = '10s'`);
      await tx.query('select ensure_usage_day(d::date) from unnest($1::text[]) d', [missing]);
    });
    for (const d of missing) this.known.add(d);
  }

  /** The day of one instant, in a transaction that is open: it is nearly always there, and goes with it where it is not and that fails. */
  async ensureIn(tx: Tx, instant: bigint): Promise<void> {
    const day = dayText(floorDiv(instant, DAY));
    if (this.known.has(day)) return;
    await tx.query('select ensure_usage_day($1::date)', [day]);
    tx.afterCommit(() => this.known.add(day));
  }

  /** They were dropped: who writes one makes it again. */
  forget(days: readonly string[]): void {
    for (const d of days) this.known.delete(d);
  }
}
