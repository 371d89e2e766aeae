import { ProblemError, type Tx } from '#platform';
import type { Marketplace, MarketplaceAdapter } from '#marketplaces/core';
import { lastDriftRunAt } from '#entitlements';
import { requestRun } from '../processes/reconcile.js';
import type { ProcessContext } from '../processes/context.js';

const FLOOR_MS = 3_600_000;
const LOOK_AGAIN_MS = 60_000;

/**
 * Books a drift run for each marketplace that can be listed, every `everyMs` of business time but never more often than the
 * marketplace's list may be asked for. 0 books none. Several workers book one run: the last run's time is in the database.
 */
export class DriftClock {
  /** Looked at first, so that a poll costs no query until a run may be due. */
  private readonly dueAt = new Map<Marketplace, number>();

  constructor(
    private readonly p: ProcessContext,
    private readonly everyMs: number,
  ) {}

  /** Answers how many runs it booked. */
  async tick(): Promise<number> {
    if (this.everyMs <= 0) return 0;
    let booked = 0;
    for (const adapter of this.p.marketplaces.all()) {
      if (!adapter.listAll || this.p.clock.now().getTime() < (this.dueAt.get(adapter.marketplace) ?? 0)) continue;
      if (await this.book(adapter)) booked += 1;
    }
    return booked;
  }

  private book(adapter: MarketplaceAdapter): Promise<boolean> {
    const { marketplace } = adapter;
    const interval = Math.max(this.everyMs, adapter.listing?.minIntervalMs ?? FLOOR_MS);
    return this.p.db.ops(async (tx) => {
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205317))', [marketplace]);
      const now = this.p.clock.now();
      const last = await lastDriftRunAt(tx, marketplace);
      const due = last === null || now.getTime() - last.getTime() >= interval;
      const booked = due && (await this.request(tx, marketplace, last ?? new Date(now.getTime() - interval), now));
      const next = booked ? now.getTime() + interval : due ? now.getTime() + LOOK_AGAIN_MS : last.getTime() + interval;
      tx.afterCommit(() => this.dueAt.set(marketplace, next));
      return booked;
    });
  }

  /** False where somebody's run compares the purchases now. */
  private async request(tx: Tx, marketplace: Marketplace, from: Date, to: Date): Promise<boolean> {
    try {
      await requestRun(this.p, tx, { kinds: ['subscriptions'], marketplace, from, to, requestedBy: 'schedule', via: 'schedule' });
      return true;
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'reconciliation.under_way') return false;
      throw error;
    }
  }
}
