import { toPublicId } from '#platform';
import type { PlacementView } from '#provisioning/engine';

export const placementView = ({ placementId, tenantId, subscriptionId, clusterId, ...p }: PlacementView): Record<string, unknown> => ({
  id: toPublicId('pla', placementId),
  tenantId: toPublicId('ten', tenantId),
  subscriptionId: toPublicId('sub', subscriptionId),
  clusterId: toPublicId('clu', clusterId),
  ...p,
});
