import type { Database } from '#platform';
import { instantText } from '../domain/units.js';

/** Days of `usage_events`: made ahead by the closer, on demand by whoever writes. In a transaction of its own: DDL locks the parent. */
export class UsageDays {
  private readonly known = new Set<string>();
  constructor(private readonly db: Database) {}

  async ensure(instants: Iterable<bigint>): Promise<void> {
    const missing = [...new Set([...instants].map((us) => instantText(us).slice(0, 10)))].filter((d) => !this.known.has(d)).sort();
    if (missing.length === 0) return;
    await this.db.ops((tx) => tx.query('select ensure_usage_day(d::date) from unnest($1::text[]) d', [missing]));
    for (const d of missing) this.known.add(d);
  }
}
