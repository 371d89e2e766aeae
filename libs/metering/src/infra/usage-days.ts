import type { Database } from '#platform';
import { floorDiv, instantText, US_PER_HOUR } from '../domain/units.js';

const DAY = 24n * US_PER_HOUR;

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
      .map((d) => instantText(d * DAY).slice(0, 10))
      .filter((d) => !this.known.has(d))
      .sort();
    if (missing.length === 0) return;
    await this.db.ops(async (tx) => {
      await tx.query(`set local lock_timeout = '10s'`);
      await tx.query('select ensure_usage_day(d::date) from unnest($1::text[]) d', [missing]);
    });
    for (const d of missing) this.known.add(d);
  }

  /** They were dropped: who writes one makes it again. */
  forget(days: readonly string[]): void {
    for (const d of days) this.known.delete(d);
  }
}
