import { type AzureSettings, planOf, planVisibleTo } from './settings.js';
import type { AzureSubscription } from './types.js';

/** Why a plan or seat change is not possible; undefined when it is (contract azure §3, rules). */
export function changeFault(
  one: AzureSubscription,
  settings: AzureSettings,
  change: { planId?: unknown; quantity?: unknown },
): { target: string; message: string } | undefined {
  const { planId, quantity } = change;
  if ((planId === undefined) === (quantity === undefined))
    return { target: 'request', message: 'Send either planId or quantity, never both.' };
  if (one.status !== 'Subscribed')
    return { target: 'saasSubscriptionStatus', message: `The subscription is ${one.status}; only a Subscribed one can be changed.` };
  if (planId !== undefined) {
    const plan = typeof planId === 'string' ? planOf(settings, one.offerId, planId) : undefined;
    if (!plan || plan.isStopSell || !planVisibleTo(plan, one.beneficiary.tenantId))
      return { target: 'planId', message: `The plan ${String(planId)} is not available to this subscription.` };
    if (plan.id === one.planId) return { target: 'planId', message: 'The subscription is on that plan already.' };
    return undefined;
  }
  const plan = planOf(settings, one.offerId, one.planId);
  if (!plan?.isPricePerSeat) return { target: 'quantity', message: 'The plan is not priced per seat.' };
  return quantity === one.quantity
    ? { target: 'quantity', message: 'The subscription has that quantity already.' }
    : quantityFault(plan, quantity);
}

export function quantityFault(
  plan: { isPricePerSeat: boolean; minQuantity?: number; maxQuantity?: number },
  quantity: unknown,
): { target: string; message: string } | undefined {
  if (!plan.isPricePerSeat)
    return quantity === null || quantity === undefined ? undefined : { target: 'quantity', message: 'The plan is not priced per seat.' };
  const [least, most] = [plan.minQuantity ?? 1, plan.maxQuantity ?? 1_000_000];
  if (typeof quantity === 'number' && Number.isInteger(quantity) && quantity >= least && quantity <= most) return undefined;
  return { target: 'quantity', message: `The quantity must be a whole number from ${least} to ${most}.` };
}
