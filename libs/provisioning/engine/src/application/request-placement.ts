import { ProblemError, uuidv7, type Tx } from '#platform';
import { overLimit, type BuildLimits } from '../domain/build-limits.js';
import { choosePlacement, newAccountName, newClusterName } from '../domain/placement-choice.js';
import type { DesiredState } from '../domain/placement-states.js';
import type { IdentityKind } from '#provisioning/core';
import { startOperation } from '../infra/operations.js';
import { limitsOf } from '../infra/limit-rows.js';
import { roomsOf } from '../infra/rooms.sql.js';
import { loadCluster, type ClusterRow } from '../infra/rows.js';
import { assertCreatable } from './readiness.js';
import { cellKeyPurpose, driverOf, enqueueReconcile, type EngineContext } from './context.js';
import { addKey } from './credentials.js';
import { raiseGeneration } from './generation.js';

export interface PlacementRequest {
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly region: string;
  readonly shape: string;
  /** Null is unlimited. */
  readonly limits: { readonly hardQuotaBytes: bigint | null };
  /** A cluster of its own; absent is a shared one. */
  readonly dedicated?: boolean;
  /** Identity providers that its tenant binds on the data path; absent is none. */
  readonly identity?: readonly IdentityKind[];
  /** How much may be built for it; left out: as much as it takes. */
  readonly buildLimits?: BuildLimits | undefined;
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
       from placements p where p.subscription_id = $1 and p.phase not in ('ended', 'exporting', 'purging', 'purged')`,
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
    `insert into placements (placement_id, tenant_id, subscription_id, cluster_id, account_name, phase, desired, generation, region, identity, created_at, updated_at, build_limits)
     values ($1, $2, $3, $4, $5, 'requested', $6, $7, $8, $10, $9, $9, $11)`,
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
      [...(request.identity ?? [])],
      request.buildLimits ? JSON.stringify(request.buildLimits) : null,
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
  const rooms = await roomsOf(tx, request);
  const { region, shape, limits, dedicated = false, identity = [] } = request;
  const choice = choosePlacement(
    { region, shape, dedicated, identity, hardQuotaBytes: limits.hardQuotaBytes },
    [...ctx.drivers.values()].map((d) => d.capabilities()),
    rooms,
    ctx.policy,
  );
  if ('create' in choice) {
    const allowed = await limitsOf(tx, request.subscriptionId, request.buildLimits ?? null);
    const over = overLimit(allowed, { nodes: choice.create.spec.nodes });
    if (over) throw new ProblemError('unprocessable', over.code, over.detail);
    await assertCreatable(tx, driverOf(ctx, choice.create.driver).capabilities(), choice.create.spec);
  }
  const clusterId = 'use' in choice ? choice.use : await createCluster(ctx, tx, choice.create, dedicated ? 'dedicated' : 'shared', now);
  return (await loadCluster(tx, clusterId, true))!;
}

async function createCluster(
  ctx: EngineContext,
  tx: Tx,
  create: { readonly driver: string; readonly spec: ClusterRow['desired'] },
  variant: 'dedicated' | 'shared',
  now: Date,
): Promise<string> {
  const clusterId = uuidv7();
  const name = newClusterName(create.spec.region);
  const desired = { ...create.spec, labels: { 'berth-cluster': clusterId, 'berth-name': name } };
  await tx.query(
    `insert into clusters (cluster_id, name, driver, variant, region, shape, phase, desired, created_at, updated_at)
     values ($1, $2, $3, $8, $4, $5, 'requested', $6, $7, $7)`,
    [clusterId, name, create.driver, create.spec.region, create.spec.shape, JSON.stringify(desired), now, variant],
  );
  const key = await ctx.issueCellKey(tx, clusterId);
  await tx.query('update clusters set cell_key_sealed = $2 where cluster_id = $1', [
    clusterId,
    ctx.sealer.seal(key, cellKeyPurpose(clusterId)),
  ]);
  return clusterId;
}
