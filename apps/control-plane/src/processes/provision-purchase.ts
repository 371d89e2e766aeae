import { toPublicId, type TaskContext, type Tx } from '#platform';
import { isOver, quotaLimit, type SubscriptionRecord } from '#entitlements';
import type { Tenant } from '#tenancy';
import type { ProcessContext } from './context.js';
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
  await p.db.ops(async (tx) => {
    // Locked: a renewal may be taking this purchase's place at this moment, and would not see a placement that is not committed.
    const subscription = (await p.subscriptions.lock(tx, payload.subscriptionId))!;
    // A suspended purchase gets its placement when it is reinstated, not a serving endpoint now.
    const live = ['pending_fulfillment', 'active'].includes(subscription.state) && !subscription.truth.unconfirmed;
    if (live && subscription.tenantId) {
      await bookWord(p, tx, subscription, 'setting_up');
      const plan = await p.catalog.get(tx, subscription.planVersionId!);
      const tenant = await p.tenants.get(tx, subscription.tenantId);
      const storage = plan.quotas.find((q) => q.name === 'storage_bytes');
      // It was set up before its day was known, and has been held since.
      const held = await p.engine.placementOfSubscription(tx, payload.subscriptionId);
      if (held?.phase === 'suspended' || held?.phase === 'suspending') await p.engine.resume(tx, held.placementId);
      await p.engine.requestPlacement(tx, {
        tenantId: subscription.tenantId,
        subscriptionId: subscription.subscriptionId,
        region: tenant.region,
        shape: plan.shape,
        limits: { hardQuotaBytes: storage ? quotaLimit(storage, subscription.quantity) : 0n },
        dedicated: plan.isolation === 'dedicated',
        identity: plan.identity ?? [],
      });
    }
    await task.completeIn(tx);
  });
}
