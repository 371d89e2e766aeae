/** Before data is deleted: whether it is there, whether it was taken along, and a way to take it along. */
import { errorText, ProblemError, type Tx } from '#platform';
import { judgeLook, type DataLook, type ExportState } from '../domain/export-check.js';
import { insertExport, newestExport, type ExportRow } from '../infra/export-rows.js';
import { loadCluster, type PlacementRow } from '../infra/rows.js';
import { lockPlacement, wish, type Wish } from './change-placement.js';
import { driverOf, isBuilt, placementUnknown, type EngineContext } from './context.js';
import type { StepLedger } from './step-ledger.js';

/** Closes what was opened for taking data along; lane `export:<placement>`, payload `{placementId}`. */
export const CLOSE_EXPORT = 'engine.close_export';

export interface ExportDecision {
  readonly state: 'confirmed' | 'waived';
  readonly by: string;
  readonly reason: string;
}

/** Asks the driver what is stored now; changes nothing, and is called outside a transaction. */
export async function lookForData(ctx: EngineContext, ledger: StepLedger, placementId: string): Promise<DataLook> {
  const found = await ctx.db.ops(async (tx) => {
    const [placement] = await tx.query<PlacementRow>('select * from placements where placement_id = $1', [placementId]);
    if (!placement) throw placementUnknown(placementId);
    return { placement, cluster: (await loadCluster(tx, placement.cluster_id))! };
  });
  const untold = (why: string): DataLook => ({ storedBytes: null, seenAt: null, why });
  if (!isBuilt(found.cluster)) return untold('its cluster was not built');
  try {
    const { placements, observedAt, exists, health } = await ledger.observeCluster(found.cluster);
    // What is down says what it was told, not what lies there.
    if (!exists || health === 'down') return untold('its cluster is down');
    const stored = placements.find((p) => p.placementId === placementId)?.storedBytes;
    if (stored === undefined || stored === null) return untold('its cluster does not say');
    return { storedBytes: BigInt(stored), seenAt: new Date(observedAt), why: 'seen by the driver' };
  } catch (error) {
    return untold(errorText(error).slice(0, 300));
  }
}

/** Writes down what a look means, if that is new. What a person or a policy has decided stays. */
export async function noteLook(
  ctx: EngineContext,
  tx: Tx,
  placementId: string,
  look: DataLook,
  holdUntil: Date,
): Promise<{ readonly state: ExportState }> {
  const { placement } = await lockPlacement(tx, placementId);
  const last = await newestExport(tx, placementId);
  if (placement.phase !== 'ended' || (last && last.state !== 'open')) return last ?? { state: 'open' };
  const judged = judgeLook(look, placement.activated_at !== null);
  const storedBytes = look.storedBytes?.toString() ?? null;
  if (last?.state === judged.state && last.stored_bytes === storedBytes && last.access_until === null) return last;
  const seen = { storedBytes, seenAt: look.seenAt, holdUntil, accessUntil: null };
  await insertExport(tx, placement, { ...judged, ...seen, by: 'control plane', at: ctx.clock.now() });
  return judged;
}

/** Somebody's word on the export; access that was opened for it ends. Data goes at the end of the retention hold all the same. */
export async function decideExport(ctx: EngineContext, tx: Tx, placementId: string, decision: ExportDecision): Promise<void> {
  const { placement } = await lockPlacement(tx, placementId);
  const last = await assertKept(tx, placement);
  await insertExport(tx, placement, {
    ...over(last),
    state: decision.state,
    reason: decision.reason,
    by: decision.by,
    at: ctx.clock.now(),
    accessUntil: null,
  });
  if (placement.phase === 'exporting') await close(ctx, tx, placementId);
}

/**
 * Opens access to kept data once more, for reading: the buyer's keys work until `until`, writes are refused, nothing is billed. Asked
 * again it moves the end. `placement.in_state`: its access has not ended, or its data is gone; `export.unsupported`: its driver refuses no writes.
 */
export async function openExport(
  ctx: EngineContext,
  tx: Tx,
  placementId: string,
  window: { readonly until: Date; readonly by: string; readonly reason: string },
): Promise<Wish> {
  const at = await lockPlacement(tx, placementId);
  const last = await assertKept(tx, at.placement);
  if (at.placement.activated_at === null) throw inState(at.placement, 'It never served, so there is nothing to take along.');
  if (!driverOf(ctx, at.cluster.driver).capabilities().hardQuota)
    throw new ProblemError(
      'unprocessable',
      'export.unsupported',
      `The driver "${at.cluster.driver}" cannot let somebody read and not write.`,
    );
  const now = ctx.clock.now();
  await insertExport(tx, at.placement, {
    ...over(last),
    state: 'open',
    reason: window.reason,
    by: window.by,
    at: now,
    accessUntil: window.until,
  });
  const readUntil = window.until.toISOString();
  const desired = { ...at.placement.desired, state: 'active' as const, reason: 'export', at: now.toISOString(), readUntil };
  await ctx.tasks.enqueue(tx, {
    lane: `export:${placementId}:${readUntil}`,
    handler: CLOSE_EXPORT,
    payload: { placementId },
    runAt: window.until,
  });
  if (at.placement.phase !== 'exporting')
    return wish(ctx, tx, at, 'open_export', 'Its data shall be readable for a while.', { event: 'export', desired });
  await tx.query('update placements set desired = $2, version = version + 1, updated_at = $3 where placement_id = $1', [
    placementId,
    JSON.stringify(desired),
    now,
  ]);
  return { operationId: null };
}

/** Task `engine.close_export`: the time is over, unless somebody has given more of it. */
export async function closeExportDue(ctx: EngineContext, placementId: string): Promise<void> {
  await ctx.db.ops(async (tx) => {
    const { placement } = await lockPlacement(tx, placementId);
    const { readUntil } = placement.desired;
    if (placement.phase === 'exporting' && readUntil && new Date(readUntil) <= ctx.clock.now()) await close(ctx, tx, placementId);
  });
}

/** Ends the access at once, where it is open. */
export async function close(ctx: EngineContext, tx: Tx, placementId: string): Promise<Wish> {
  const at = await lockPlacement(tx, placementId);
  if (at.placement.phase !== 'exporting') return { operationId: null };
  return wish(ctx, tx, at, 'close_export', 'Access shall end again.', {
    event: 'end',
    desired: { ...at.placement.desired, state: 'closed', at: ctx.clock.now().toISOString() },
  });
}

const KEPT = ['ended', 'exporting'];

/** The check of a placement whose data is kept; one that was never looked at counts as open. */
async function assertKept(tx: Tx, placement: PlacementRow): Promise<ExportRow | null> {
  if (!KEPT.includes(placement.phase)) throw inState(placement, `A placement that is ${placement.phase} has no export to decide on.`);
  return newestExport(tx, placement.placement_id);
}

const inState = (placement: PlacementRow, detail: string): ProblemError =>
  new ProblemError('conflict', 'placement.in_state', detail, { phase: placement.phase });

/** What the last look saw goes on with the decision: it was made knowing that. */
const over = (last: ExportRow | null): { storedBytes: string | null; seenAt: string | null; holdUntil: string | null } => ({
  storedBytes: last?.stored_bytes ?? null,
  seenAt: last?.seen_at ?? null,
  holdUntil: last?.hold_until ?? null,
});
