import type { Tx } from '#platform';
import type { ProcessContext } from './context.js';
import { settleOpenFindings } from './settle-findings.js';

/**
 * A change that was agreed elsewhere, or while another one was, may allow more than the cluster has room for. It is carried out all the
 * same: the buyer has it in writing. A person makes the cluster larger, or looks for another way.
 */
export async function raiseExceededRoom(p: ProcessContext, tx: Tx, placementId: string): Promise<boolean> {
  const { hardQuotaBytes, mostBytes, clusterId, cluster } = await p.engine.roomOfPlacement(tx, placementId);
  if (hardQuotaBytes === null || mostBytes === null || hardQuotaBytes <= mostBytes) return false;
  const { tenantId, subscriptionId } = await p.engine.getPlacement(tx, placementId);
  const [open] = await tx.query(`select 1 from findings where kind = 'room_exceeded' and subscription_id = $1 and settlement is null`, [
    subscriptionId,
  ]);
  if (open) return false;
  return p.metering.raiseFinding(tx, {
    kind: 'room_exceeded',
    dedupeKey: `room_exceeded:${placementId}:${hardQuotaBytes}:${p.clock.now().toISOString()}`,
    tenantId,
    subscriptionId,
    evidence: {
      placementId,
      clusterId,
      cluster,
      hardQuotaBytes: hardQuotaBytes.toString(),
      mostBytes: mostBytes.toString(),
      why: 'more is set aside on its cluster than there is room for',
    },
  });
}

/** Settles what fits again: the cluster has grown, a neighbour has gone, or less is allowed. Answers how many. */
export async function settleFittingRoom(p: ProcessContext, tx: Tx): Promise<number> {
  const open = await tx.query<{ subscription_id: string; placement_id: string }>(
    `select subscription_id, evidence ->> 'placementId' as placement_id from findings where kind = 'room_exceeded' and settlement is null limit 500`,
  );
  let settled = 0;
  for (const { subscription_id: subscriptionId, placement_id: placementId } of open) {
    const { hardQuotaBytes, mostBytes } = await p.engine.roomOfPlacement(tx, placementId);
    if (mostBytes !== null && hardQuotaBytes !== null && hardQuotaBytes > mostBytes) continue;
    const why = { actor: 'provisioning', reason: 'what is set aside on its cluster fits again' };
    settled += await settleOpenFindings(p, tx, { kind: 'room_exceeded', subscriptionId }, why);
  }
  return settled;
}
