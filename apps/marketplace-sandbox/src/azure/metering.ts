import { randomUUID } from 'node:crypto';
import { DAY, HOUR } from '../shared/clock.js';
import { ExactNumber } from '../shared/exact-json.js';
import { type AzureCaller, isAppOf } from './auth.js';
import type { AzureContext } from './context.js';
import { offerOf, planOf } from './settings.js';
import type { AcceptedUsage, UsageResource } from './types.js';

export type RefusalCode =
  'BadArgument' | 'ResourceNotFound' | 'ResourceNotAuthorized' | 'ResourceNotActive' | 'InvalidDimension' | 'InvalidQuantity' | 'Expired';

/** An item as it was sent; every field may be missing or of another kind. */
export type UsageItem = Record<string, unknown>;

export type UsageOutcome =
  | { kind: 'accepted'; usage: AcceptedUsage }
  | { kind: 'duplicate'; first: AcceptedUsage }
  | { kind: 'refused'; code: RefusalCode; target: string; message: string };

const WINDOW_MS = DAY;
const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?$/;

/** The rules of contract azure §6 for one usage event. */
export function takeUsage(context: AzureContext, caller: AzureCaller, item: UsageItem): UsageOutcome {
  const shape = readShape(item);
  if ('code' in shape) return { kind: 'refused', ...shape };
  const { resourceId, quantity, dimension, planId, startText, startMs } = shape;
  const { state, clock } = context;
  const settings = context.settings();
  const now = clock.nowMs();

  const subscription = state.resource(resourceId);
  if (!subscription) return refused('ResourceNotFound', 'ResourceId', `The resource ${resourceId} was not found.`);
  if (!isAppOf(caller, offerOf(settings, subscription.offerId), settings)) {
    return refused('ResourceNotAuthorized', 'ResourceId', 'Client is not authorized for this usage resource.');
  }
  if (!(quantity.value > 0)) return refused('InvalidQuantity', 'Quantity', 'The quantity must be greater than zero.');
  if (startMs > now) return refused('BadArgument', 'EffectiveStartTime', 'The effectiveStartTime is in the future.');
  if (now - startMs > WINDOW_MS)
    return refused('Expired', 'EffectiveStartTime', 'The effectiveStartTime is more than 24 hours in the past.');
  if (!isActiveFor(subscription, startMs)) {
    return refused(
      'ResourceNotActive',
      'ResourceId',
      `The subscription is ${subscription.status}; usage is taken for Subscribed ones only.`,
    );
  }
  const hourMs = Math.floor(startMs / HOUR) * HOUR;
  if (!planInForce(subscription, planId, hourMs, settings.oldPlanUsage === 'accepted')) {
    return refused('BadArgument', 'PlanId', `The plan ${planId} was not in force.`);
  }
  if (!planOf(settings, subscription.offerId, planId)?.meters[dimension]) {
    return refused('InvalidDimension', 'Dimension', `The dimension ${dimension} is not enabled on the plan ${planId}.`);
  }

  const hour = new Date(hourMs).toISOString();
  const key = `${resourceId}|${settings.usageKey === 'resource' ? '*' : dimension}|${hour}`;
  const first = state.usage.get(key);
  // The first of the hour wins; a later one is dropped, never added (contract azure §6, rules).
  if (first) return { kind: 'duplicate', first };
  const usage = state.usage.put(key, {
    usageEventId: randomUUID(),
    resourceId,
    offerId: subscription.offerId,
    planId,
    dimension,
    effectiveStartTime: startText,
    hour,
    quantity: quantity.text,
    acceptedAt: clock.now().toISOString(),
  });
  return { kind: 'accepted', usage };
}

interface Shape {
  resourceId: string;
  quantity: ExactNumber;
  dimension: string;
  planId: string;
  startText: string;
  startMs: number;
}

function readShape(item: UsageItem): Shape | { code: RefusalCode; target: string; message: string } {
  const bad = (target: string, message: string): { code: RefusalCode; target: string; message: string } => ({
    code: 'BadArgument',
    target,
    message,
  });
  const { resourceId, quantity, dimension, planId, effectiveStartTime } = item;
  if (typeof resourceId !== 'string' || !resourceId) return bad('ResourceId', 'The resourceId is required.');
  if (!GUID.test(resourceId)) return bad('ResourceId', 'The resourceId is not a GUID.');
  if (!(quantity instanceof ExactNumber) || !Number.isFinite(quantity.value))
    return bad('Quantity', 'The quantity is required and must be a number.');
  if (typeof dimension !== 'string' || !dimension) return bad('Dimension', 'The dimension is required.');
  if (typeof planId !== 'string' || !planId) return bad('PlanId', 'The planId is required.');
  if (typeof effectiveStartTime !== 'string' || !INSTANT.test(effectiveStartTime))
    return bad('EffectiveStartTime', 'The effectiveStartTime is required and must be an ISO 8601 time.');
  // A time without a zone is UTC.
  const startMs = Date.parse(/(Z|[+-]\d{2}:\d{2})$/.test(effectiveStartTime) ? effectiveStartTime : `${effectiveStartTime}Z`);
  if (Number.isNaN(startMs)) return bad('EffectiveStartTime', 'The effectiveStartTime is not a time.');
  return { resourceId: resourceId.toLowerCase(), quantity, dimension, planId, startText: effectiveStartTime, startMs };
}

/** After a cancellation, usage from before it is still taken, inside the 24 h that hold for all usage. */
function isActiveFor(subscription: UsageResource, startMs: number): boolean {
  if (subscription.status === 'Subscribed') return true;
  if (subscription.status !== 'Unsubscribed' || !subscription.activatedAt || !subscription.unsubscribedAt) return false;
  return startMs < Date.parse(subscription.unsubscribedAt);
}

function planInForce(subscription: UsageResource, planId: string, hourMs: number, oldPlanCounts: boolean): boolean {
  if (planId === subscription.planId) return true;
  if (!oldPlanCounts) return false;
  return subscription.planHistory.some((entry, index) => {
    const next = subscription.planHistory[index + 1];
    return entry.planId === planId && Date.parse(entry.from) < hourMs + HOUR && (!next || Date.parse(next.from) > hourMs);
  });
}

function refused(code: RefusalCode, target: string, message: string): UsageOutcome {
  return { kind: 'refused', code, target, message };
}
