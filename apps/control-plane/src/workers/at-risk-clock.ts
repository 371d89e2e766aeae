import type { Metrics } from '#platform';
import { LEFT_WITHIN, readAtRisk } from '#metering';
import { MARKETPLACES } from '#marketplaces/core';
import type { ProcessContext } from '../processes/context.js';
import { measureMarketplaces } from './marketplace-metrics.js';
import { PacedClock } from './paced-clock.js';

const LOOK_EVERY_MS = 60_000;

/** Keeps the metrics of usage that no marketplace has accepted yet, so that somebody is woken before its deadline. */
export class AtRiskClock extends PacedClock {
  constructor(
    p: ProcessContext,
    private readonly metrics: Metrics,
  ) {
    super(p, LOOK_EVERY_MS);
  }

  protected async look(now: Date): Promise<number> {
    const all = await this.p.db.ops((tx) => readAtRisk(tx, now));
    measureMarketplaces(this.metrics, await this.p.db.ops((tx) => this.p.metering.marketplaceStatus(tx)));
    const items = this.metrics.gauge('berth_usage_at_risk_items', 'Frozen hours not accepted yet, by time to the hard deadline', [
      'marketplace',
      'within',
    ]);
    const amount = this.metrics.gauge('berth_usage_at_risk_amount', 'Their money at the effective price; what has no price is not in it', [
      'marketplace',
      'within',
      'currency',
    ]);
    const late = this.metrics.gauge('berth_usage_past_target_items', 'Frozen hours that should have been accepted by now', ['marketplace']);
    const left = this.metrics.gauge(
      'berth_usage_next_deadline_seconds',
      'Business seconds to the next hard deadline; +Inf where none waits',
      ['marketplace'],
    );
    amount.reset();
    for (const marketplace of MARKETPLACES) {
      const one = all.find((a) => a.marketplace === marketplace);
      for (const within of LEFT_WITHIN) {
        const bucket = one?.buckets.find((b) => b.within === within);
        items.set({ marketplace, within }, bucket?.items ?? 0);
        // A metric is a picture for alerts; exact amounts are in the API.
        for (const a of bucket?.amounts ?? []) amount.set({ marketplace, within, currency: a.currency }, Number(a.amount));
      }
      late.set({ marketplace }, one?.pastTarget ?? 0);
      left.set({ marketplace }, one?.nextDeadline ? (one.nextDeadline.getTime() - now.getTime()) / 1_000 : Number.POSITIVE_INFINITY);
    }
    return all.filter((one) => one.alert !== 'none').length;
  }
}
