import { uuidv7, type Tx } from '#platform';
import { choosePlacement, newAccountName, newClusterName, type ClusterRoom } from '../domain/placement-choice.js';
import type { DesiredState } from '../domain/placement-states.js';
import { startOperation } from '../infra/operations.js';
import { loadCluster, type ClusterRow } from '../infra/rows.js';
import { cellKeyPurpose, enqueueReconcile, type EngineContext } from './context.js';
import { addKey } from './credentials.js';
import { raiseGeneration } from './generation.js';

export interface PlacementRequest {
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly region: string;
  readonly shape: string;
  /** Null is unlimited. */
  readonly limits: { readonly hardQuotaBytes: bigint | null };
}

/** One live placement per subscription: a repeat, also at the same moment, gets the first one's ids. */
export async function requestPlacement(
  ctx: EngineContext,
  tx: Tx,
  request: PlacementRequest,
): Promise<{ placementId: string; operationId: string }> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`placement-of:${request.subscriptionId}`]);
  const [known] = await tx.query<{ placement_id: string; operation_id: string }>(
    `select p.placement_id, (select o.operation_id from operations o where o.subject_id = p.placement_id and o.kind = 'provision' order by o.operation_id desc limit 1) as operation_id
       from placements p where p.subscription_id = $1 and p.phase not in ('ended', 'purging', 'purged')`,
    [request.subscriptionId],
  );
  if (known) return { placementId: known.placement_id, operationId: known.operation_id };

  const now = ctx.clock.now();
  const cluster = await roomFor(ctx, tx, request, now);
  const generation = await raiseGeneration(tx, cluster, now);
  const placementId = uuidv7();
  const placement = { placement_id: placementId, tenant_id: request.tenantId, subscription_id: request.subscriptionId };
  const desired: DesiredState = { state: 'active', limits: { hardQuotaBytes: request.limits.hardQuotaBytes?.toString() ?? null } };
  await tx.query(
    `insert into placements (placement_id, tenant_id, subscription_id, cluster_id, account_name, phase, desired, generation, region, created_at, updated_at)
     values ($1, $2, $3, $4, $5, 'requested', $6, $7, $8, $9, $9)`,
    [
      placementId,
      request.tenantId,
      request.subscriptionId,
      cluster.cluster_id,
      newAccountName(),
      JSON.stringify(desired),
      generation,
      request.region,
      now,
    ],
  );
  await addKey(ctx, tx, { placementId, tenantId: request.tenantId, keyId: 'k1', now });
  const operationId = await startOperation(
    tx,
    now,
    'provision',
    { clusterId: cluster.cluster_id, generation, placement },
    'The placement was requested.',
  );
  await enqueueReconcile(ctx, tx, cluster.cluster_id);
  return { placementId, operationId };
}

/** The chosen cluster, locked. */
async function roomFor(ctx: EngineContext, tx: Tx, request: PlacementRequest, now: Date): Promise<ClusterRow> {
  // One chooser at a time: two requests may neither overfill a cell nor make two where one is enough.
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', ['placement-choice']);
  const rows = await tx.query<{
    cluster_id: string;
    name: string;
    driver: string;
    region: string;
    shape: string;
    phase: ClusterRoom['phase'];
    cordoned: boolean;
    occupied: string;
  }>(
    `select c.cluster_id, c.name, c.driver, c.region, c.shape, c.phase, c.cordoned_at is not null as cordoned,
            (select count(*) from placements p where p.cluster_id = c.cluster_id and p.phase <> 'purged') as occupied
       from clusters c where c.region = $1 and c.shape = $2 and c.variant = 'shared' and c.deleted_at is null`,
    [request.region, request.shape],
  );
  const rooms = rows.map((r): ClusterRoom => ({
    clusterId: r.cluster_id,
    name: r.name,
    driver: r.driver,
    region: r.region,
    shape: r.shape,
    phase: r.phase,
    cordoned: r.cordoned,
    occupied: Number(r.occupied),
  }));
  const choice = choosePlacement(
    request,
    [...ctx.drivers.values()].map((d) => d.capabilities()),
    rooms,
    ctx.policy,
  );
  const clusterId = 'use' in choice ? choice.use : await createCluster(ctx, tx, choice.create, now);
  return (await loadCluster(tx, clusterId, true))!;
}

async function createCluster(
  ctx: EngineContext,
  tx: Tx,
  create: { readonly driver: string; readonly spec: ClusterRow['desired'] },
  now: Date,
): Promise<string> {
  const clusterId = uuidv7();
  const name = newClusterName(create.spec.region);
  const desired = { ...create.spec, labels: { 'berth-cluster': clusterId, 'berth-name': name } };
  await tx.query(
    `insert into clusters (cluster_id, name, driver, variant, region, shape, phase, desired, created_at, updated_at)
     values ($1, $2, $3, 'shared', $4, $5, 'requested', $6, $7, $7)`,
    [clusterId, name, create.driver, create.spec.region, create.spec.shape, JSON.stringify(desired), now],
  );
  const key = await ctx.issueCellKey(tx, clusterId);
  await tx.query('update clusters set cell_key_sealed = $2 where cluster_id = $1', [
    clusterId,
    ctx.sealer.seal(key, cellKeyPurpose(clusterId)),
  ]);
  return clusterId;
}
