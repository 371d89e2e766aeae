import { ProblemError, toPublicId, type TaskContext, type Tx } from '#platform';
import { isOver, quotaLimit, type SubscriptionRecord } from '#entitlements';
import type { Tenant } from '#tenancy';
import type { ProcessContext } from './context.js';
import { raiseLateOrder } from './late-eta.js';
import { planWish } from './plan-gate.js';
import { settleOpenFindings } from './settle-findings.js';
import { bookWord } from './tell-buyer.js';

/** On `subscription.needs_tenant`: an activation without a landing makes the tenant (region of the plan, generated name). */
export async function makeTenantForActivation(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  await p.db.ops(async (tx) => {
    // Locked: a landing or a renewal may give it a tenant, or end it, at this moment.
    const subscription = (await p.subscriptions.lock(tx, payload.subscriptionId))!;
    if (!subscription.tenantId && !isOver(subscription.state)) {
      const plan = await p.catalog.get(tx, subscription.planVersionId!);
      const earlier = await earlierTenant(p, tx, subscription);
      const tenant = await p.tenants.ensureForPurchase(tx, {
        purchaseId: subscription.subscriptionId,
        displayName: earlier?.displayName ?? subscription.name ?? toPublicId('sub', subscription.subscriptionId),
        region: plan.regions.some((r) => r.id === earlier?.region) ? earlier!.region : plan.defaultRegion,
        contact: null,
      });
      await p.subscriptions.bindTenant(tx, subscription.subscriptionId, tenant.tenantId);
    }
    await task.completeIn(tx);
  });
}

/**
 * On `subscription.scheduled`: Google shows the day of a start only after the approval (contract gcp §2), which is given when the
 * purchase serves. Until that day access is held; nothing of it is counted.
 */
export async function holdUntilStart(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  await p.db.ops(async (tx) => {
    const subscription = await p.subscriptions.get(tx, payload.subscriptionId);
    const placement = await p.engine.placementOfSubscription(tx, payload.subscriptionId);
    if (placement && subscription.state === 'scheduled')
      await p.engine.suspend(tx, placement.placementId, { reason: 'scheduled', at: p.clock.now() });
    await task.completeIn(tx);
  });
}

/** The tenant of another purchase of the same buyer: his organisation and region are known from its sign-up. */
async function earlierTenant(p: ProcessContext, tx: Tx, subscription: SubscriptionRecord): Promise<Tenant | null> {
  const { marketplace, buyerAccountId, subscriptionId } = subscription;
  if (!buyerAccountId) return null;
  const purchases = await p.subscriptions.ofBuyer(tx, marketplace, buyerAccountId);
  const earlier = purchases.filter((s) => s.subscriptionId !== subscriptionId && s.tenantId && !s.erasedAt);
  const newest = earlier.sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime())[0];
  return newest ? p.tenants.get(tx, newest.tenantId!) : null;
}

/**
 * On `subscription.tenant_bound`, and where the tenant came before that on `subscription.started` (the day) and
 * `subscription.confirmed` (the marketplace says that it is in force; until then nothing is set up, contract aws §11.2): desired state for the placement; the engine reconciles.
 */
export async function requestPlacement(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const refused = await p.db
    .ops((tx) => request(p, tx, payload.subscriptionId, task))
    .catch((error: unknown) => {
      if (error instanceof ProblemError && isNotReady(error.code)) return error;
      throw error;
    });
  if (refused) await p.db.ops((tx) => waitUntilReady(p, tx, payload.subscriptionId, refused, task));
}

/** Null: it is done. Else the gate that is closed, and nothing is written. */
async function request(p: ProcessContext, tx: Tx, subscriptionId: string, task: TaskContext): Promise<ProblemError | null> {
  // Locked: a renewal may be taking this purchase's place at this moment, and would not see a placement that is not committed.
  const subscription = (await p.subscriptions.lock(tx, subscriptionId))!;
  // A suspended purchase gets its placement when it is reinstated, not a serving endpoint now.
  const live = ['pending_fulfillment', 'active'].includes(subscription.state) && !subscription.truth.unconfirmed;
  if (live && subscription.tenantId) {
    const plan = await p.catalog.get(tx, subscription.planVersionId!);
    const tenant = await p.tenants.get(tx, subscription.tenantId);
    const held = await p.engine.placementOfSubscription(tx, subscriptionId);
    if (!held || ENDED.includes(held.phase)) {
      const shut = await p.engine.readinessRefusal(tx, planWish(plan, tenant.region, tenant.slug));
      if (shut) return shut;
    }
    await bookWord(p, tx, subscription, 'setting_up');
    const storage = plan.quotas.find((q) => q.name === 'storage_bytes');
    // It was set up before its day was known, and has been held since.
    if (held?.phase === 'suspended' || held?.phase === 'suspending') await p.engine.resume(tx, held.placementId);
    const { placementId } = await p.engine.requestPlacement(tx, {
      tenantId: subscription.tenantId,
      subscriptionId,
      region: tenant.region,
      shape: plan.shape,
      limits: { hardQuotaBytes: storage ? quotaLimit(storage, subscription.quantity) : 0n },
      buildLimits: plan.build,
      dedicated: plan.isolation === 'dedicated',
      identity: plan.identity ?? [],
    });
    await raiseLateOrder(p, tx, placementId);
    await settleNotReady(p, tx, subscriptionId);
  } else if (isOver(subscription.state)) await settleNotReady(p, tx, subscriptionId);
  await task.completeIn(tx);
  return null;
}

/** What kept the purchase from being built is over, or the purchase is: nobody has to look after it any more. */
async function settleNotReady(p: ProcessContext, tx: Tx, subscriptionId: string): Promise<void> {
  const why = { actor: 'provisioning', reason: 'nothing keeps the purchase waiting any more' };
  await settleOpenFindings(p, tx, { kind: 'not_ready', subscriptionId }, why);
}

const ENDED = ['ended', 'exporting', 'purging', 'purged'];

/** What a person has to mend or decide first: no number of tries helps, and none does harm. */
const NOT_READY = [
  'readiness.',
  'limit.',
  'shape.',
  'provisioning.stopped',
  'placement.shape_unknown',
  'placement.region_unknown',
  'placement.larger_than_shape',
  'placement.identity_unsupported',
  'placement.no_capacity',
];
const isNotReady = (code: string): boolean => NOT_READY.some((c) => code.startsWith(c));

const LOOK_AGAIN_MS = 5 * 60_000;

/**
 * Paid, and there is nothing it may be built on: a person is told the rule and the reason, and it is looked at again, on a lane of its
 * own, so that the purchase's other messages (its end, too) do not wait.
 */
async function waitUntilReady(p: ProcessContext, tx: Tx, subscriptionId: string, refused: ProblemError, task: TaskContext): Promise<void> {
  const subscription = await p.subscriptions.get(tx, subscriptionId);
  await p.metering.raiseFinding(tx, {
    kind: 'not_ready',
    dedupeKey: `not_ready:${subscriptionId}:${refused.code}:${String(refused.extra['gate'] ?? '')}`,
    tenantId: subscription.tenantId,
    subscriptionId,
    evidence: { ...refused.extra, marketplace: subscription.marketplace, code: refused.code, why: refused.detail },
  });
  const again = new Date(Math.ceil((p.clock.now().getTime() + 1) / LOOK_AGAIN_MS) * LOOK_AGAIN_MS);
  await p.tasks.enqueue(tx, {
    lane: `not_ready:${subscriptionId}`,
    handler: 'placement.request',
    payload: { subscriptionId },
    runAt: again,
    dedupeKey: `not_ready:${subscriptionId}:${again.toISOString()}`,
  });
  await task.completeIn(tx);
}
