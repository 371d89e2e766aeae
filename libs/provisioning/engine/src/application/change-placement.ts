/** Wishes about a living placement. Each one raises the generation, makes an operation and wakes the reconciler, in the caller's transaction. */
import { ProblemError, type Tx } from '#platform';
import type { BuildLimits } from '../domain/build-limits.js';
import type { PlacementOperationKind } from '../domain/operation-kinds.js';
import { CHANGEABLE, nextPlacement, TRANSFERABLE, type DesiredState, type PlacementEvent } from '../domain/placement-states.js';
import { assertExportDecided } from '../infra/export-rows.js';
import { carryOverride } from '../infra/limit-rows.js';
import { finishWishes, startOperation } from '../infra/operations.js';
import { loadCluster, updatePlacement, type ClusterRow, type OperationRow, type PlacementRow } from '../infra/rows.js';
import { enqueueReconcile, isBuilt, placementUnknown, publish, type EngineContext } from './context.js';
import { addKey } from './credentials.js';
import { raiseGeneration } from './generation.js';

/** `operationId` is null when there was nothing to do. */
export interface Wish {
  readonly operationId: string | null;
}
const NOTHING: Wish = { operationId: null };

/** Locks in the engine's order: cluster, then placement. */
export async function lockPlacement(tx: Tx, placementId: string): Promise<{ cluster: ClusterRow; placement: PlacementRow }> {
  const [found] = await tx.query<{ cluster_id: string }>('select cluster_id from placements where placement_id = $1', [placementId]);
  if (!found) throw placementUnknown(placementId);
  const cluster = (await loadCluster(tx, found.cluster_id, true))!;
  const [placement] = await tx.query<PlacementRow>('select * from placements where placement_id = $1 for update', [placementId]);
  return { cluster, placement: placement! };
}

export async function wish(
  ctx: EngineContext,
  tx: Tx,
  at: { cluster: ClusterRow; placement: PlacementRow },
  kind: PlacementOperationKind,
  message: string,
  change: { desired?: DesiredState; event?: PlacementEvent },
): Promise<Wish> {
  const now = ctx.clock.now();
  const { cluster, placement } = at;
  const phase = change.event ? nextPlacement(placement.phase, change.event) : placement.phase;
  const generation = await raiseGeneration(tx, cluster, now);
  await updatePlacement(tx, placement.placement_id, { phase, desired: change.desired, generation }, now);
  const operationId = await startOperation(tx, now, kind, { clusterId: cluster.cluster_id, generation, placement }, message);
  await enqueueReconcile(ctx, tx, cluster.cluster_id);
  return { operationId };
}

function assertChangeable(p: PlacementRow, what: string): void {
  if (!CHANGEABLE.includes(p.phase))
    throw new ProblemError('conflict', 'placement.in_state', `A placement that is ${p.phase} takes no ${what}.`, { phase: p.phase });
}

export async function setLimits(
  ctx: EngineContext,
  tx: Tx,
  placementId: string,
  limits: { readonly hardQuotaBytes: bigint | null },
): Promise<Wish> {
  const at = await lockPlacement(tx, placementId);
  assertChangeable(at.placement, 'new limits');
  const hardQuotaBytes = limits.hardQuotaBytes?.toString() ?? null;
  if (at.placement.desired.limits.hardQuotaBytes === hardQuotaBytes) return NOTHING;
  return wish(ctx, tx, at, 'set_limits', 'New limits were requested.', {
    desired: { ...at.placement.desired, limits: { hardQuotaBytes } },
  });
}

/** How much may be built for it, as its plan says now. Calls no driver: it is asked at the next build. */
export async function setBuildLimits(tx: Tx, placementId: string, limits: BuildLimits | null): Promise<void> {
  await tx.query('update placements set build_limits = $2 where placement_id = $1', [placementId, limits && JSON.stringify(limits)]);
}

export async function suspend(
  ctx: EngineContext,
  tx: Tx,
  placementId: string,
  why: { readonly reason: string; readonly at: Date },
): Promise<Wish> {
  const at = await lockPlacement(tx, placementId);
  if (at.placement.phase === 'suspending' || at.placement.phase === 'suspended') return NOTHING;
  const made = await wish(ctx, tx, at, 'suspend', 'Access shall be suspended.', {
    event: 'suspend',
    desired: { ...at.placement.desired, state: 'suspended', reason: why.reason, at: why.at.toISOString() },
  });
  await supersede(ctx, tx, placementId, ['provision', 'resume'], 'Access was suspended meanwhile.');
  return made;
}

export async function resume(ctx: EngineContext, tx: Tx, placementId: string): Promise<Wish> {
  const at = await lockPlacement(tx, placementId);
  if (at.placement.phase === 'active' || at.placement.phase === 'resuming') return NOTHING;
  const made = await wish(ctx, tx, at, 'resume', 'Access shall be resumed.', {
    event: 'resume',
    desired: { state: 'active', limits: at.placement.desired.limits },
  });
  await supersede(ctx, tx, placementId, ['suspend'], 'Access was resumed meanwhile.');
  return made;
}

/** Access ends for good, the last sample is taken and acknowledged; the data stays until `purge`. */
export async function endAccess(ctx: EngineContext, tx: Tx, placementId: string, end: { readonly at: Date }): Promise<Wish> {
  const at = await lockPlacement(tx, placementId);
  if (['ending', 'ended', 'exporting', 'purging', 'purged'].includes(at.placement.phase)) return NOTHING;
  await supersede(ctx, tx, placementId, ['provision', 'set_limits', 'rotate_key', 'suspend', 'resume'], 'Access was ended.');
  const desired: DesiredState = { ...at.placement.desired, state: 'closed', at: end.at.toISOString() };
  const stands = at.cluster.phase === 'failed' || at.cluster.phase === 'approval';
  if (stands && !isBuilt(at.cluster)) return endUnbuilt(ctx, tx, at, desired);
  return wish(ctx, tx, at, 'end_access', 'Access shall end.', { event: 'end', desired });
}

/** Nothing stands there that could give access: there is no driver to call and no last sample to wait for. */
async function endUnbuilt(
  ctx: EngineContext,
  tx: Tx,
  at: { cluster: ClusterRow; placement: PlacementRow },
  desired: DesiredState,
): Promise<Wish> {
  const now = ctx.clock.now();
  const { placement } = at;
  const phase = nextPlacement(nextPlacement(placement.phase, 'end'), 'ended');
  await updatePlacement(tx, placement.placement_id, { phase, desired, access_ended_at: now }, now);
  const operationId = await startOperation(
    tx,
    now,
    'end_access',
    { clusterId: at.cluster.cluster_id, generation: at.cluster.generation, placement },
    'Access shall end.',
  );
  await finishWishes(tx, now, placement.placement_id, ['end_access'], 'succeeded', 'Nothing had been built.');
  await publish(ctx, tx, 'placement.access_ended', placement);
  return { operationId };
}

/**
 * The same endpoint, keys and data serve another subscription of the same tenant from now on (a renewal in its predecessor's
 * place). No driver is asked: it knows placements, not purchases. Refused for a placement whose access ends or has ended.
 */
export async function transferPlacement(ctx: EngineContext, tx: Tx, placementId: string, toSubscriptionId: string): Promise<void> {
  // The same lock as a request for one: of two placements for one subscription the second one is refused.
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`placement-of:${toSubscriptionId}`]);
  const { placement } = await lockPlacement(tx, placementId);
  if (placement.subscription_id === toSubscriptionId) return;
  if (!TRANSFERABLE.includes(placement.phase))
    throw new ProblemError('conflict', 'placement.in_state', `A placement that is ${placement.phase} is not handed on.`, {
      phase: placement.phase,
    });
  const [other] = await tx.query(
    `select 1 from placements where subscription_id = $1 and phase not in ('ended', 'exporting', 'purging', 'purged') and placement_id <> $2`,
    [toSubscriptionId, placementId],
  );
  if (other) throw new ProblemError('conflict', 'placement.taken', 'That subscription has a placement of its own.');
  const now = ctx.clock.now();
  await carryOverride(tx, placement.subscription_id, toSubscriptionId, now);
  await tx.query('update placements set subscription_id = $2, version = version + 1, updated_at = $3 where placement_id = $1', [
    placementId,
    toSubscriptionId,
    now,
  ]);
  await tx.query(`update operations set subscription_id = $2, updated_at = $3 where subject_id = $1 and state = 'running'`, [
    placementId,
    toSubscriptionId,
    now,
  ]);
}

/** Deletes the data. The caller has kept the retention hold (architecture law 8); `placement.export_open` while nobody has decided on its export. */
export async function purge(ctx: EngineContext, tx: Tx, placementId: string): Promise<Wish> {
  const at = await lockPlacement(tx, placementId);
  if (at.placement.phase === 'purging' || at.placement.phase === 'purged') return NOTHING;
  nextPlacement(at.placement.phase, 'purge');
  await assertExportDecided(tx, placementId);
  return wish(ctx, tx, at, 'purge', 'The data shall be deleted.', {
    event: 'purge',
    desired: { ...at.placement.desired, state: 'purged' },
  });
}

/** Adds a key and keeps the newest two: the one before goes on working until the next rotation. */
export async function rotateKey(ctx: EngineContext, tx: Tx, placementId: string): Promise<Wish & { readonly keyId: string }> {
  const at = await lockPlacement(tx, placementId);
  assertChangeable(at.placement, 'new key');
  const keys = await tx.query<{ key_id: string }>(
    `select key_id from placement_credentials where placement_id = $1 order by substr(key_id, 2)::integer desc`,
    [placementId],
  );
  const keyId = `k${Number(keys[0]?.key_id.slice(1) ?? '0') + 1}`;
  await addKey(ctx, tx, { placementId, tenantId: at.placement.tenant_id, keyId, now: ctx.clock.now() });
  await tx.query('delete from placement_credentials where placement_id = $1 and key_id = any($2)', [
    placementId,
    keys.slice(1).map((k) => k.key_id),
  ]);
  return { ...(await wish(ctx, tx, at, 'rotate_key', 'A new key was made.', {})), keyId };
}

/** After a person has removed the cause: what had failed on this operation's subject is tried again, under new operations. */
export async function retryOperation(ctx: EngineContext, tx: Tx, operationId: string): Promise<void> {
  const [op] = await tx.query<OperationRow>('select * from operations where operation_id = $1', [operationId]);
  if (!op) throw new ProblemError('not_found', 'operation.unknown', `There is no operation ${operationId}.`);
  const stopped = op.state === 'cancelled' && op.subject_kind === 'cluster' && op.error !== null;
  if (op.state !== 'failed' && !stopped)
    throw new ProblemError('conflict', 'operation.in_state', `An operation that is ${op.state} cannot be tried again.`, {
      state: op.state,
    });
  // The cluster has gone back to what it was: what it was to be is not known any more.
  if (op.kind === 'resize_cluster' || op.kind === 'upgrade_cluster')
    throw new ProblemError('conflict', 'operation.not_repeatable', 'The cluster kept what it had. Ask for the change again.');
  const now = ctx.clock.now();
  const cluster = (await loadCluster(tx, op.cluster_id, true))!;
  const generation = await raiseGeneration(tx, cluster, now);
  const waiting = await tx.query<PlacementRow>(
    `select * from placements where cluster_id = $1 and ($2::uuid is null or placement_id = $2) and phase in ('failed', 'suspending', 'resuming', 'ending', 'purging') for update`,
    [cluster.cluster_id, op.subject_kind === 'placement' ? op.subject_id : null],
  );
  const kinds = { failed: 'provision', suspending: 'suspend', resuming: 'resume', ending: 'end_access', purging: 'purge' } as const;
  for (const p of waiting) {
    const kind = p.phase === 'ending' && p.desired.readUntil ? 'close_export' : kinds[p.phase as keyof typeof kinds];
    const phase = p.phase === 'failed' ? nextPlacement(p.phase, 'retry') : p.phase;
    await updatePlacement(tx, p.placement_id, { phase, generation }, now);
    await supersede(ctx, tx, p.placement_id, [...Object.values(kinds), 'close_export'], 'It was tried again.');
    await startOperation(tx, now, kind, { clusterId: cluster.cluster_id, generation, placement: p }, 'It is tried again.');
  }
  if (op.kind === 'set_limits' || op.kind === 'rotate_key' || op.kind === 'open_export') {
    const [placement] = await tx.query<PlacementRow>('select * from placements where placement_id = $1', [op.subject_id]);
    await startOperation(tx, now, op.kind, { clusterId: cluster.cluster_id, generation, placement: placement! }, 'It is tried again.');
  }
  await enqueueReconcile(ctx, tx, cluster.cluster_id);
}

async function supersede(
  ctx: EngineContext,
  tx: Tx,
  placementId: string,
  kinds: readonly PlacementOperationKind[],
  message: string,
): Promise<void> {
  await finishWishes(tx, ctx.clock.now(), placementId, kinds, 'cancelled', message);
}
