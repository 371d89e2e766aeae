import type { Tx } from '#platform';
import type { ServedAt } from '#entitlements';
import type { ProcessContext } from './context.js';

/** Where the purchase is served, or will be: once it has a tenant, the region is chosen. Null before that, and when it is over. */
export async function servedAtOf(p: ProcessContext, tx: Tx, subscriptionId: string): Promise<ServedAt | null> {
  const placement = await p.engine.placementOfSubscription(tx, subscriptionId);
  if (placement) {
    const { shape } = await p.engine.getCluster(tx, placement.clusterId);
    return { region: placement.region, shape, roomBytes: (await p.engine.roomOfPlacement(tx, placement.placementId)).mostBytes };
  }
  const record = await p.subscriptions.find(tx, subscriptionId);
  return record?.tenantId ? { region: (await p.tenants.get(tx, record.tenantId)).region, shape: null, roomBytes: null } : null;
}
