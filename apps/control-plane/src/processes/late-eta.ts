import type { Tx } from '#platform';
import type { ProcessContext } from './context.js';
import { settleOpenFindings } from './settle-findings.js';

const NOT_BUILT = ['requested', 'preflight', 'planned', 'approval', 'provisioning'];

/**
 * A purchase that cannot be served before its marketplace voids it (`activateBy`) is a finding as soon as that is known: at the order,
 * by the driver's first estimate, and whenever somebody says another day. One at a time: another late day takes the place of the one
 * before, and a day that is in time settles it. Answers how many are new.
 */
export async function judgeEtas(p: ProcessContext, tx: Tx, clusterId: string, expectedAt: Date): Promise<number> {
  const { items } = await p.engine.listPlacements(tx, { limit: 500 }, { clusterId, phase: 'requested' });
  let raised = 0;
  for (const { subscriptionId, tenantId, placementId } of items) {
    const { activateBy, marketplace, externalSubscriptionId, state } = await p.subscriptions.get(tx, subscriptionId);
    if (state !== 'pending_fulfillment' || activateBy === null || expectedAt <= activateBy) {
      await settleEta(p, tx, subscriptionId, 'people will be through in time');
      continue;
    }
    const [open] = await tx.query<{ expected_at: string }>(
      `select evidence ->> 'expectedAt' as expected_at from findings where kind = 'eta_after_deadline' and subscription_id = $1 and settlement is null`,
      [subscriptionId],
    );
    // The same day said twice is nothing new.
    if (open && dayOf(new Date(open.expected_at)) === dayOf(expectedAt)) continue;
    await settleEta(p, tx, subscriptionId, 'another day is expected now');
    const isNew = await p.metering.raiseFinding(tx, {
      kind: 'eta_after_deadline',
      dedupeKey: `eta_after_deadline:${subscriptionId}:${dayOf(expectedAt)}:${p.clock.now().toISOString()}`,
      tenantId,
      subscriptionId,
      deadline: activateBy,
      evidence: {
        marketplace,
        externalSubscriptionId,
        placementId,
        clusterId,
        expectedAt: expectedAt.toISOString(),
        activateBy: activateBy.toISOString(),
        why: 'it will not be built before the marketplace voids the purchase',
      },
    });
    if (isNew) raised += 1;
  }
  return raised;
}

const dayOf = (at: Date): string => at.toISOString().slice(0, 10);

const settleEta = (p: ProcessContext, tx: Tx, subscriptionId: string, reason: string): Promise<number> =>
  settleOpenFindings(p, tx, { kind: 'eta_after_deadline', subscriptionId }, { actor: 'provisioning', reason });

/** Of a purchase that is built, in force or over nobody asks any more when it will be built. Answers how many. */
export async function settlePassedEtas(p: ProcessContext, tx: Tx): Promise<number> {
  const passed = await tx.query<{ subscription_id: string }>(
    `select distinct f.subscription_id from findings f join subscriptions s using (subscription_id)
      where f.kind = 'eta_after_deadline' and f.settlement is null
        and (s.state <> 'pending_fulfillment'
             or exists (select 1 from placements p where p.subscription_id = s.subscription_id and p.activated_at is not null)) limit 500`,
  );
  let settled = 0;
  for (const { subscription_id: id } of passed) settled += await settleEta(p, tx, id, 'the purchase is built, or over');
  return settled;
}

/** At order time: what people build takes its time from now on. */
export async function raiseLateOrder(p: ProcessContext, tx: Tx, placementId: string): Promise<void> {
  const { clusterId } = await p.engine.getPlacement(tx, placementId);
  const cluster = await p.engine.getCluster(tx, clusterId);
  const leadHours = p.engine.leadHoursOf(cluster.driver);
  if (leadHours !== null && NOT_BUILT.includes(cluster.phase))
    await judgeEtas(p, tx, clusterId, new Date(cluster.createdAt.getTime() + leadHours * 3_600_000));
}
