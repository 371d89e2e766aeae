import { buy } from './chapters/buy.js';
import { changePlan, endElsewhere, endPurchase } from './chapters/change.js';
import { useStorage } from './chapters/data.js';
import { recordsAccepted, threeHours } from './chapters/hours.js';
import { isolation } from './chapters/isolation.js';
import { killInFlight } from './chapters/kill.js';
import { billedByMarketplace, reconcile } from './chapters/reconcile.js';
import { start } from './chapters/start.js';
import type { World } from './world.js';

/** The whole way of a purchase, in the order in which a seller would be asked for it. */
export async function tell(w: World): Promise<void> {
  await start(w);
  await buy(w);
  await useStorage(w);
  await isolation(w, false);
  await threeHours(w);
  await recordsAccepted(w);
  await isolation(w, true);
  await killInFlight(w);
  await changePlan(w);
  await endElsewhere(w);
  await endPurchase(w);
  await reconcile(w);
  await billedByMarketplace(w);
}
