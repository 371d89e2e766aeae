import { underFormerKey } from '#entitlements';
import { proposeJoins, raiseUnjoined } from '../processes/propose-joins.js';
import type { ProcessContext } from '../processes/context.js';
import { PacedClock } from './paced-clock.js';

/** Long enough to ask the marketplace for the licences of all who are left. */
const AHEAD_MS = 14 * 86_400_000;
const LOOK_EVERY_MS = 3_600_000;

/** Names each purchase whose key goes out of use soon and that nobody has joined: from then on its usage waits (contract aws §0.3). */
export class JoinClock extends PacedClock {
  constructor(p: ProcessContext) {
    super(p, LOOK_EVERY_MS);
  }

  protected async look(now: Date): Promise<number> {
    let raised = 0;
    for (const { marketplace, keyChange } of this.p.marketplaces.all()) {
      if (!keyChange) continue;
      raised += await this.p.db.ops(async (tx) => {
        let fresh = 0;
        for (const row of await underFormerKey(tx, marketplace, keyChange.formerPrefix)) {
          const dueAt = keyChange.dueAt(row.marketplace_refs);
          if (!dueAt || dueAt.getTime() - AHEAD_MS > now.getTime()) continue;
          const former = await this.p.subscriptions.get(tx, row.subscription_id);
          // Two messages at once may have missed each other.
          await proposeJoins(this.p, tx, former);
          if (await raiseUnjoined(this.p, tx, former, dueAt, null)) fresh += 1;
        }
        return fresh;
      });
    }
    return raised;
  }
}
