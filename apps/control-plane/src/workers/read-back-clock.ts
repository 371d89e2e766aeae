import { MARKETPLACES, type Marketplace } from '#marketplaces/core';
import type { ProcessContext } from '../processes/context.js';
import { PacedClock } from './paced-clock.js';

const DAY_MS = 86_400_000;
/** What was used yesterday may still be sent today, and takes a while to be processed: the report is asked for from this hour (UTC) on. */
const FROM_HOUR_MS = 6 * 3_600_000;
/** Each day is looked at twice: what was sent late, or was not processed yet, shows the day after (contract azure §6, §12). */
const DAYS = 2;
const LOOK_EVERY_MS = 900_000;

/** Books, once a day, a comparison of what each marketplace says it has accepted with our receipts. */
export class ReadBackClock extends PacedClock {
  constructor(p: ProcessContext) {
    super(p, LOOK_EVERY_MS);
  }

  protected async look(now: Date): Promise<number> {
    const today = new Date(Math.floor(now.getTime() / DAY_MS) * DAY_MS);
    if (now.getTime() < today.getTime() + FROM_HOUR_MS) return 0;
    let booked = 0;
    for (const marketplace of MARKETPLACES)
      if (this.p.marketplaces.has(marketplace) && this.p.marketplaces.get(marketplace).readBack && (await this.book(marketplace, today)))
        booked += 1;
    return booked;
  }

  private book(marketplace: Marketplace, today: Date): Promise<boolean> {
    return this.p.db.ops(async (tx) => {
      // Several workers look: one books.
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205318))', [marketplace]);
      const [done] = await tx.query(
        `select 1 from reconciliations where marketplace = $1 and requested_by = 'clock' and created_at >= $2`,
        [marketplace, today],
      );
      if (done) return false;
      await this.p.metering.requestReconciliation(tx, {
        marketplace,
        from: new Date(today.getTime() - DAYS * DAY_MS),
        to: today,
        requestedBy: 'clock',
      });
      return true;
    });
  }
}
