import type { Metrics } from '#platform';
import type { ProcessContext } from '../processes/context.js';
import { PacedClock } from './paced-clock.js';

const LOOK_EVERY_MS = 60_000;

/** Keeps the metrics of claims that wait: a buyer stands before a closed door until an operator answers (ADR 0015). */
export class ClaimsClock extends PacedClock {
  constructor(
    p: ProcessContext,
    private readonly metrics: Metrics,
  ) {
    super(p, LOOK_EVERY_MS);
  }

  protected async look(now: Date): Promise<number> {
    const { pending, oldestAt } = await this.p.db.ops((tx) => this.p.claims.waiting(tx));
    this.metrics.gauge('berth_claims_pending', 'Claims to a purchase that wait for an operator').set(pending);
    this.metrics
      .gauge('berth_claims_oldest_seconds', 'Business seconds for which the oldest of them has waited; 0 where none waits')
      .set(oldestAt ? Math.max(0, (now.getTime() - oldestAt.getTime()) / 1_000) : 0);
    return pending;
  }
}
