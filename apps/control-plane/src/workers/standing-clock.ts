import type { ProcessContext } from '../processes/context.js';
import { settleFittingRoom } from '../processes/exceeded-room.js';
import { settlePassedEtas } from '../processes/late-eta.js';
import { PacedClock } from './paced-clock.js';

const LOOK_EVERY_MS = 300_000;

/** Settles findings about the room and the making of clusters, of which no message tells that they are over. */
export class StandingClock extends PacedClock {
  constructor(p: ProcessContext) {
    super(p, LOOK_EVERY_MS);
  }

  protected look(): Promise<number> {
    return this.p.db.ops(async (tx) => (await settleFittingRoom(this.p, tx)) + (await settlePassedEtas(this.p, tx)));
  }
}
