import type { Tx } from '#platform';
import { mostFor } from '../domain/cluster-room.js';
import { takenOf } from '../infra/rooms.sql.js';
import { loadCluster, type PlacementRow } from '../infra/rows.js';
import { driverOf, placementUnknown, type EngineContext } from './context.js';

export interface PlacementRoom {
  readonly clusterId: string;
  readonly cluster: string;
  /** Set aside for it now; null is unlimited. */
  readonly hardQuotaBytes: bigint | null;
  /** The most that can be set aside for it where it is; null: there is no bound. */
  readonly mostBytes: bigint | null;
}

/** How much the cluster of a placement could set aside for it, beside its neighbours. */
export async function roomOfPlacement(ctx: EngineContext, tx: Tx, placementId: string): Promise<PlacementRoom> {
  const [placement] = await tx.query<PlacementRow>('select * from placements where placement_id = $1', [placementId]);
  if (!placement) throw placementUnknown(placementId);
  const cluster = (await loadCluster(tx, placement.cluster_id))!;
  const { hardQuotaBytes } = placement.desired.limits;
  const own = hardQuotaBytes === null ? null : BigInt(hardQuotaBytes);
  const shape = driverOf(ctx, cluster.driver)
    .capabilities()
    .shapes.find((s) => s.name === cluster.shape);
  const at = { clusterId: cluster.cluster_id, cluster: cluster.name, hardQuotaBytes: own };
  // What is gone takes no room, and a shape that is not offered any more has none that is known.
  if (placement.phase === 'purged' || cluster.deleted_at !== null || !shape) return { ...at, mostBytes: null };
  return { ...at, mostBytes: mostFor(await takenOf(tx, cluster.cluster_id), own, shape, ctx.policy.overcommitPercent) };
}
