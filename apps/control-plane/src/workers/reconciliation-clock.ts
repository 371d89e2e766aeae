import { ProblemError, type Metrics } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { oldestLost, scheduledHealth, type ReconciliationKind } from '#metering';
import type { ProcessContext } from '../processes/context.js';
import { requestRun } from '../processes/reconcile.js';
import { PacedClock } from './paced-clock.js';

const DAY_MS = 86_400_000;
/** What was used yesterday may still be sent today, and takes a while to be processed: the report is asked for from this hour (UTC) on. */
const FROM_HOUR_MS = 6 * 3_600_000;
/** Each day is looked at twice: what was sent late, or was not processed yet, shows the day after (contract azure §6, §12). */
const DAYS = 2;
/** So far back a day is asked for again while it has not told how submissions ended whose answers were lost. */
const LOST_FOR_DAYS = 31;
const LOOK_EVERY_MS = 900_000;
/** Subscriptions have a pace of their own (the drift clock). */
const DAILY: ReconciliationKind[] = ['sum_law', 'placements', 'read_back'];

/** Books the day's run of comparisons, and keeps the metrics by which somebody hears that scheduled ones fail. */
export class ReconciliationClock extends PacedClock {
  constructor(
    p: ProcessContext,
    private readonly metrics: Metrics,
  ) {
    super(p, LOOK_EVERY_MS);
  }

  protected async look(now: Date): Promise<number> {
    await this.measure(now);
    const today = new Date(Math.floor(now.getTime() / DAY_MS) * DAY_MS);
    if (now.getTime() < today.getTime() + FROM_HOUR_MS) return 0;
    try {
      return (await this.book(today)) || (await this.bookLost(today, now)) ? 1 : 0;
    } catch (error) {
      // Somebody's own run compares the same now: the next look books.
      if (error instanceof ProblemError && error.code === 'reconciliation.under_way') return 0;
      throw error;
    }
  }

  private book(today: Date): Promise<boolean> {
    return this.p.db.ops(async (tx) => {
      // Several workers look: one books.
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205318))', ['reconciliation of the day']);
      const [done] = await tx.query(
        `select 1 from reconciliation_runs where requested_via = 'schedule' and 'sum_law' = any(kinds) and created_at >= $1`,
        [today],
      );
      if (done) return false;
      const from = new Date(today.getTime() - DAYS * DAY_MS);
      await requestRun(this.p, tx, { kinds: DAILY, marketplace: null, from, to: today, requestedBy: 'schedule', via: 'schedule' });
      return true;
    });
  }

  /** Days before those of the day's run that were not whole when they were looked at; once a day, after it. */
  private bookLost(today: Date, now: Date): Promise<boolean> {
    const to = new Date(today.getTime() - DAYS * DAY_MS);
    const marketplaces = MARKETPLACES.filter((m) => this.p.marketplaces.has(m) && this.p.marketplaces.get(m).readBack);
    return this.p.db.ops(async (tx) => {
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205318))', ['reconciliation of the day']);
      const hour = await oldestLost(tx, { marketplaces, since: new Date(today.getTime() - LOST_FOR_DAYS * DAY_MS), now });
      if (hour === null || hour >= to) return false;
      const [done] = await tx.query(
        `select 1 from reconciliation_runs where requested_via = 'schedule' and kinds = array['read_back'] and created_at >= $1`,
        [today],
      );
      if (done) return false;
      const from = new Date(Math.floor(hour.getTime() / DAY_MS) * DAY_MS);
      await requestRun(this.p, tx, { kinds: ['read_back'], marketplace: null, from, to, requestedBy: 'schedule', via: 'schedule' });
      return true;
    });
  }

  private async measure(now: Date): Promise<void> {
    const failed = this.metrics.gauge('berth_reconciliation_failed', 'Whether the newest scheduled comparison failed', [
      'kind',
      'marketplace',
    ]);
    const age = this.metrics.gauge('berth_reconciliation_age_seconds', 'Business seconds since a scheduled comparison succeeded', [
      'kind',
      'marketplace',
    ]);
    failed.reset();
    age.reset();
    for (const one of await this.p.db.ops((tx) => scheduledHealth(tx))) {
      const labels = { kind: one.kind, marketplace: one.marketplace ?? 'all' };
      failed.set(labels, one.failed ? 1 : 0);
      age.set(labels, one.succeeded_at ? (now.getTime() - one.succeeded_at.getTime()) / 1_000 : Number.POSITIVE_INFINITY);
    }
  }
}
