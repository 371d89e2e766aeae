import { compareDecimals } from '#platform';
import { type Deadlines, MarketplaceRefusal, type UsageItemInput, type UsageTraits, type UsageWireItem } from '#marketplaces/core';
import { guidOf } from './liberal.js';

const HOUR = 3_600_000;
const MINUTE = 60_000;

/** How Azure takes usage (contract azure §6; money.md "The hour"). */
export const AZURE_USAGE: UsageTraits = {
  hourKey: 'one_per_hour',
  zeroWanted: false,
  maxQuantity: null,
  maxDecimals: 6,
  batchSize: 25,
  // Microsoft documents no limit (contract azure §3 "Throttling"): ours, so that a backlog is no flood.
  rate: { perSecond: 10, burst: 20 },
  holdLimitMinutes: 360,
  finalHoldMinutes: 30,
  safeResend: true,
};

const QUANTITY = /^(0|[1-9]\d*)(?:\.(\d+))?$/;

/** `2026-03-08T08:00:00Z`: always the hour's start, which the day and the 24 h count from. */
export const hourText = (at: Date): string => `${new Date(Math.floor(at.getTime() / HOUR) * HOUR).toISOString().slice(0, 19)}Z`;

/** Microsoft's dedupe key: purchase, dimension, UTC hour; the plan is no part of it. */
export const usageKey = (resourceId: string, dimension: string, hour: string): string => `${resourceId.toLowerCase()}|${dimension}|${hour}`;

export function buildUsageItem(input: UsageItemInput): UsageWireItem {
  const resourceId = guidOf(input.externalSubscriptionId);
  const wrong = (code: string, detail: string): never => {
    throw new MarketplaceRefusal(code, detail);
  };
  if (!resourceId) return wrong('azure.resource_not_found', 'the subscription id is no GUID');
  if (!input.dimension || !input.externalPlanId) return wrong('azure.bad_argument', 'a dimension and a plan are needed');
  if (input.hourStart.getTime() % HOUR !== 0) return wrong('azure.bad_argument', 'the hour must start on the hour');
  const number = QUANTITY.exec(input.quantity);
  if (!number || (number[2] ?? '').length > AZURE_USAGE.maxDecimals)
    return wrong(
      'azure.invalid_quantity',
      `the quantity ${input.quantity.slice(0, 60)} is not a number with at most ${AZURE_USAGE.maxDecimals} decimals`,
    );
  // Zero is refused there, and no event is needed for an hour without usage.
  if (compareDecimals(input.quantity, '0') <= 0) return wrong('azure.invalid_quantity', 'the quantity must be more than zero');
  const hour = hourText(input.hourStart);
  const text = (value: string): string => JSON.stringify(value);
  return {
    itemId: input.itemId,
    wireKey: usageKey(resourceId, input.dimension, hour),
    // The number is written as it is: through a float its digits would not be ours any more.
    body: `{"resourceId":${text(resourceId)},"quantity":${input.quantity},"dimension":${text(input.dimension)},"effectiveStartTime":${text(hour)},"planId":${text(input.externalPlanId)}}`,
    route: {},
  };
}

/** `effectiveStartTime` may be 24 h back and is the hour's start, so an hour may be sent for 23 h after its end. */
const WINDOW_MS = 24 * HOUR;
/** For the way there and for clocks that differ. */
const SAFETY_MS = 5 * MINUTE;
const ALARM_MS = 20 * HOUR;
/** After a cancellation what is left goes out at once. */
const FINAL_ALARM_MS = HOUR;

export function deadlines(input: { hourStart: Date; hourEnd: Date; endedAt: Date | null }): Deadlines {
  const hard = input.hourStart.getTime() + WINDOW_MS - SAFETY_MS;
  const usual = input.hourEnd.getTime() + ALARM_MS;
  const final = input.endedAt ? Math.max(input.hourEnd.getTime(), input.endedAt.getTime()) + FINAL_ALARM_MS : usual;
  return { target: new Date(Math.min(usual, final, hard)), hard: new Date(hard) };
}
