import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import type { PlacementView } from '#provisioning/engine';
import type { ProcessContext } from './context.js';
import { settleOpenFindings } from './settle-findings.js';

/** Data of an ended purchase is kept at least this long after access ended (Azure: 7 days). */
const RETENTION_MS = 7 * 86_400_000;
const DAY_MS = 86_400_000;
/** How often data is looked at whose export nobody has decided on. */
const LOOK_AGAIN_MS = 3_600_000;

export interface ExportWish {
  readonly state: 'confirmed' | 'waived';
  readonly by: string;
  readonly reason: string;
}

/** On `placement.access_ended` and `placement.export_closed`: on a lane of its own, because a driver is asked. */
export async function beginExportCheck(p: ProcessContext, payload: { placementId: string }, task: TaskContext): Promise<void> {
  const { placementId } = payload;
  await p.db.ops(async (tx) => {
    await p.tasks.enqueue(tx, { lane: `export:${placementId}`, handler: 'export.check', payload: { placementId } });
    await task.completeIn(tx);
  });
}

/** Task `export.check`: whether data is there that somebody may want to take along, while there is still time to do so. */
export async function checkExport(p: ProcessContext, payload: { placementId: string }, task: TaskContext): Promise<void> {
  const look = await p.engine.lookForData(payload.placementId);
  await p.db.ops(async (tx) => {
    const placement = await p.engine.getPlacement(tx, payload.placementId);
    await p.engine.noteExportLook(tx, placement.placementId, look, holdUntilOf(placement, p.clock.now()));
    await task.completeIn(tx);
  });
}

const holdUntilOf = (placement: PlacementView, now: Date): Date => new Date((placement.accessEndedAt ?? now).getTime() + RETENTION_MS);

export const bookPurge = (p: ProcessContext, tx: Tx, placementId: string, accessEndedAt: Date): Promise<string> =>
  p.tasks.enqueue(tx, {
    lane: `retention:${placementId}`,
    handler: 'placement.purge',
    payload: { placementId },
    runAt: new Date(accessEndedAt.getTime() + RETENTION_MS),
    dedupeKey: `placement.purge:${placementId}`,
  });

/**
 * Task `placement.purge`, due after the retention. Data goes when the export check is decided: nothing is there, somebody has said that
 * it was taken along or is not wanted, or a set number of days has passed (`BERTH_EXPORT_GRACE_DAYS`). Else a person is asked.
 */
export async function purgePlacement(p: ProcessContext, payload: { placementId: string }, task: TaskContext): Promise<void> {
  const { placementId } = payload;
  const look = await p.engine.lookForData(placementId);
  const waits = await p.db.ops(async (tx) => {
    const placement = await p.engine.getPlacement(tx, placementId);
    if (placement.phase !== 'purging' && placement.phase !== 'purged') {
      if (placement.phase !== 'ended') return `it is ${placement.phase}`;
      const why = await undecided(p, tx, placement, look);
      if (why) return why;
      await p.engine.purge(tx, placementId);
    }
    await settleExportFinding(p, tx, placement.subscriptionId, 'the data is deleted');
    await task.completeIn(tx);
    return null;
  });
  if (waits) throw new RunAgainAt(new Date(p.clock.now().getTime() + LOOK_AGAIN_MS), waits);
}

/** Why the data may not go yet; null: it may. */
async function undecided(
  p: ProcessContext,
  tx: Tx,
  placement: PlacementView,
  look: Parameters<ProcessContext['engine']['noteExportLook']>[2],
): Promise<string | null> {
  const now = p.clock.now();
  const holdUntil = holdUntilOf(placement, now);
  const { state } = await p.engine.noteExportLook(tx, placement.placementId, look, holdUntil);
  if (state !== 'open') return null;
  const days = p.exportGraceDays;
  const waivedAt = days === null ? null : new Date(holdUntil.getTime() + days * DAY_MS);
  if (waivedAt && waivedAt <= now) {
    const reason = `Nobody has decided in ${days} days after the retention (BERTH_EXPORT_GRACE_DAYS).`;
    await decideExport(p, tx, placement, { state: 'waived', by: 'policy', reason });
    return null;
  }
  const { placementId, tenantId, subscriptionId, accessEndedAt } = placement;
  await p.metering.raiseFinding(tx, {
    kind: 'export_unconfirmed',
    dedupeKey: `export_unconfirmed:${placementId}:${holdUntil.toISOString()}`,
    tenantId,
    subscriptionId,
    ...(waivedAt ? { deadline: waivedAt } : {}),
    evidence: {
      placementId,
      storedBytes: look.storedBytes?.toString() ?? null,
      accessEndedAt: accessEndedAt?.toISOString() ?? null,
      holdUntil: holdUntil.toISOString(),
      why: 'the retention is over, and nobody has said that the data was taken along or is not wanted',
    },
  });
  return 'nobody has decided on the export of its data';
}

/** Writes down somebody's word on the export, with its trace; no finding has to ask for it any more. */
export async function decideExport(p: ProcessContext, tx: Tx, placement: PlacementView, wish: ExportWish): Promise<void> {
  const { placementId, tenantId, subscriptionId } = placement;
  await p.engine.decideExport(tx, placementId, wish);
  await p.audit.record(tx, {
    tenantId,
    actor: wish.by,
    action: `export.${wish.state}`,
    subject: `placement:${placementId}`,
    detail: { reason: wish.reason },
  });
  await settleExportFinding(p, tx, subscriptionId, `the export was ${wish.state}`);
}

const settleExportFinding = (p: ProcessContext, tx: Tx, subscriptionId: string, reason: string): Promise<number> =>
  settleOpenFindings(p, tx, { kind: 'export_unconfirmed', subscriptionId }, { actor: 'provisioning', reason });
