import type { Tx } from '#platform';
import type { ServedAt } from '#entitlements';
import { newestSample } from '#metering';
import type { ProcessContext } from './context.js';

/** Where the purchase is served, or will be: once it has a tenant, the region is chosen. Null before that, and when it is over. */
export async function servedAtOf(p: ProcessContext, tx: Tx, subscriptionId: string): Promise<ServedAt | null> {
  const placement = await p.engine.placementOfSubscription(tx, subscriptionId);
  if (placement) {
    const { shape } = await p.engine.getCluster(tx, placement.clusterId);
    const { placementId, region } = placement;
    const { mostBytes } = await p.engine.roomOfPlacement(tx, placementId);
    const told = await newestSample(tx, { placementId, metric: 'stored_bytes', now: p.clock.now() });
    return { region, shape, roomBytes: mostBytes, stored: told && { bytes: told.value, at: told.at } };
  }
  const record = await p.subscriptions.find(tx, subscriptionId);
  return record?.tenantId ? { region: (await p.tenants.get(tx, record.tenantId)).region, shape: null, roomBytes: null } : null;
}
