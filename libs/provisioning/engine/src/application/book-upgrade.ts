/** An upgrade that is asked for now and begins in a maintenance window, while its cluster serves and other work goes on. */
import { ProblemError, RunAgainAt, type Tx } from '#platform';
import type { DriverErrorShape } from '#provisioning/core';
import { BOOKED } from '../domain/operation-kinds.js';
import { finishOperation, notePhase, startOperation } from '../infra/operations.js';
import { updateCluster, type ClusterRow, type Recorded } from '../infra/rows.js';
import type { Wish } from './change-placement.js';
import type { EngineContext } from './context.js';
import { clusterInState, lockCluster } from './lock-cluster.js';
import { assertOffered, beginUpgrade, versionOf, type Upgrade } from './upgrade-cluster.js';

/** Begins a booked upgrade when its window is open; lane `window:<cluster>`, payload `{clusterId}`. */
export const BEGIN_BOOKED = 'engine.begin_booked';

/** How often it is looked whether it can begin, while its window is open. Business time. */
const LOOK_AGAIN_MS = 30_000;

export interface Window {
  readonly notBefore: Date;
  /** It is given up where it could not begin until then; null: it may begin at any time after. */
  readonly notAfter: Date | null;
}

/**
 * Books an upgrade; a booking that there was is replaced. `cluster.window_over`: the window has passed, or ends before it begins; else as
 * `upgradeCluster`, but for what may have changed by then (`cluster.in_state`, `cluster.upgrade_busy`): that is waited for.
 */
export async function bookUpgrade(ctx: EngineContext, tx: Tx, clusterId: string, wish: Upgrade, window: Window): Promise<Wish> {
  const { notBefore, notAfter } = window;
  const now = ctx.clock.now();
  if (notAfter !== null && (notAfter <= now || notAfter <= notBefore))
    throw new ProblemError('unprocessable', 'cluster.window_over', 'The window has passed, or ends before it begins.');
  const cluster = await lockCluster(tx, clusterId);
  if (cluster.recorded.retirement) throw clusterInState(cluster, 'other version');
  const runs = versionOf(cluster);
  assertOffered(ctx, cluster, wish.version, runs);
  if (wish.version === runs) return { operationId: null };
  const before = cluster.recorded.booked;
  if (before) await finishOperation(tx, now, idOf(before), 'cancelled', 'Another booking took its place.');
  const on = { clusterId, generation: cluster.generation };
  const operationId = await startOperation(tx, now, 'upgrade_cluster', on, `It is to run version ${wish.version}: ${wish.reason}`);
  await notePhase(tx, now, operationId, { phase: BOOKED, awaited: `its window, from ${notBefore.toISOString()}` });
  const booked = {
    operationId,
    to: wish.version,
    by: wish.by,
    reason: wish.reason,
    notBefore: notBefore.toISOString(),
    notAfter: notAfter?.toISOString() ?? null,
  };
  await updateCluster(tx, clusterId, { recorded: { ...cluster.recorded, booked } }, now);
  await ctx.tasks.enqueue(tx, {
    // Of its own: a window that was moved must not wait behind the one before.
    lane: `window:${operationId}`,
    handler: BEGIN_BOOKED,
    payload: { clusterId, operationId },
    runAt: notBefore,
  });
  return { operationId };
}

/** Task `engine.begin_booked`. The operation goes on as that of any upgrade; what hinders it is waited for until the window ends. */
export async function beginBooked(ctx: EngineContext, clusterId: string, operationId: string): Promise<void> {
  const hindered = await ctx.db.ops(async (tx): Promise<string | null> => {
    const cluster = await lockCluster(tx, clusterId);
    const { booked } = cluster.recorded;
    if (booked?.operationId !== operationId) return null;
    const now = ctx.clock.now();
    const { to, by, reason } = booked;
    if (versionOf(cluster) === to) return end(ctx, tx, cluster, booked, 'succeeded', 'It runs that version already.');
    try {
      if (cluster.recorded.retirement) throw clusterInState(cluster, 'other version');
      if (booked.notAfter && new Date(booked.notAfter) <= now)
        throw new ProblemError('conflict', 'upgrade.window_missed', 'Its window was over before it could begin. Ask for another one.');
      assertOffered(ctx, cluster, to, versionOf(cluster));
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      return end(ctx, tx, cluster, booked, 'failed', 'It did not begin.', { class: 'conflict', code: error.code, detail: error.detail });
    }
    try {
      await beginUpgrade(
        ctx,
        tx,
        { ...cluster, recorded: { ...cluster.recorded, booked: undefined } },
        { version: to, by, reason },
        operationId,
      );
      return null;
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      await notePhase(tx, now, operationId, { phase: BOOKED, awaited: error.detail });
      return error.detail;
    }
  });
  if (hindered !== null) throw new RunAgainAt(new Date(ctx.clock.now().getTime() + LOOK_AGAIN_MS), hindered);
}

/** Takes a booking back before its window has opened. False: that operation is no booking. */
export async function cancelBooked(
  ctx: EngineContext,
  tx: Tx,
  cluster: ClusterRow,
  operationId: string,
  { by, reason }: { readonly by: string; readonly reason: string },
): Promise<boolean> {
  const { booked } = cluster.recorded;
  if (booked?.operationId !== operationId) return false;
  const error: DriverErrorShape = { class: 'conflict', code: 'operation.cancelled', detail: `${by} stopped it: ${reason}` };
  await end(ctx, tx, cluster, booked, 'cancelled', 'It was taken back before it began.', error);
  return true;
}

type Booked = NonNullable<Recorded['booked']>;
const idOf = ({ operationId }: Booked): { operation_id: string } => ({ operation_id: operationId });

async function end(
  ctx: EngineContext,
  tx: Tx,
  cluster: ClusterRow,
  booked: Booked,
  state: 'succeeded' | 'failed' | 'cancelled',
  message: string,
  error?: DriverErrorShape,
): Promise<null> {
  const now = ctx.clock.now();
  await finishOperation(tx, now, idOf(booked), state, message, error && { ...error, step: BOOKED });
  await updateCluster(tx, cluster.cluster_id, { recorded: { ...cluster.recorded, booked: undefined } }, now);
  return null;
}
