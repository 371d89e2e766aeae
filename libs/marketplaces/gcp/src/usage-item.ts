import {
  COST_SPLIT_LIMITS,
  costPartsFault,
  type Deadlines,
  labelsKey,
  MarketplaceRefusal,
  type UsageItemInput,
  type UsageTraits,
  type UsageWireItem,
} from '#marketplaces/core';
import { uuidv5 } from '#platform';
import type { components } from '../../../../openapi/generated/gcp-servicecontrol.js';
import { billingMonthOf, monthCutOff } from './billing-month.js';
import { instantOf, jsonOf, lastSegment, textOf } from './liberal.js';
import type { TypeOf } from './metric-types.js';

type Operation = components['schemas']['Operation'];
type MetricValue = Operation['metricValueSets'][number]['metricValues'][number];

const HOUR = 3_600_000;
/** Google takes no zero, nor a part of zero. */
const FROM_ONE = /^[1-9]\d{0,18}$/;
const MAX_INT64 = 2n ** 63n - 1n;
/** Up to here a JSON number and a double hold every whole number. */
const MAX_DOUBLE = 2n ** 53n;
export const OPERATION_NAME = 'hourly-usage';

/** How Google takes usage (contract gcp §4; money.md "The hour"). */
export const gcpUsage = (safeResend: boolean): UsageTraits => ({
  hourKey: 'interval',
  zeroWanted: false,
  maxQuantity: MAX_INT64,
  maxDecimals: 0,
  // 100 operations are some 50 KB of the 1 MB a request may have.
  batchSize: 100,
  // Google documents none for us; one batch may ask `check` for each of its buyers, so batches are few.
  rate: { perSecond: 5, burst: 10 },
  holdLimitMinutes: 40,
  finalHoldMinutes: 30,
  safeResend,
});

/** What the submitter needs beside the bytes. */
export interface GcpRoute extends Record<string, string> {
  serviceName: string;
  consumerId: string;
  entitlementId: string;
  month: string;
  ended: 'true' | 'false';
}

/** Usage must lie before the cancellation: a second is what others leave (contract gcp §4, deadlines). */
const BEFORE_END_MS = 1_000;

/**
 * One operation for one metric, so that a bad metric spoils no other. Its id is made of what it reports, as Google suggests
 * where an idempotent id is wanted (contract gcp §4, dedupe).
 */
export function buildUsageItem(input: UsageItemInput, serviceName: string, typeOf: TypeOf): UsageWireItem {
  const wrong = (code: string, detail: string): never => {
    throw new MarketplaceRefusal(code, detail);
  };
  const entitlementId = lastSegment(input.externalSubscriptionId);
  if (!entitlementId) return wrong('gcp.entitlement_unknown', 'the entitlement id is not one');
  if (!textOf(input.dimension)) return wrong('gcp.metric_unknown', 'a metric name is needed');
  if (!(input.startsAt < input.endsAt)) return wrong('gcp.interval_invalid', 'the interval must have a start before its end');
  if (!FROM_ONE.test(input.quantity) || BigInt(input.quantity) > MAX_INT64)
    return wrong('gcp.quantity_invalid', `the quantity ${input.quantity.slice(0, 60)} is not a whole number from 1 to 2^63-1`);
  const consumerId = textOf(input.refs['usageReportingId']);
  // It may come only after the activation: the caller waits and builds again (money.md "Outcomes").
  if (!consumerId)
    return wrong('gcp.usage_reporting_id_missing', 'the marketplace has not given the usage reporting id of the purchase yet');

  const type = typeOf(input.dimension);
  if (type === null)
    return wrong('gcp.metric_types_unread', `the live configuration of ${serviceName} was not read, or has no metric ${input.dimension}`);
  if (type !== 'INT64' && type !== 'DOUBLE') return wrong('gcp.metric_type_unsupported', `the metric is of the type ${type}`);
  if (type === 'DOUBLE' && BigInt(input.quantity) > MAX_DOUBLE)
    return wrong('gcp.quantity_invalid', 'the quantity is larger than a double holds exactly');
  const valueOf = (quantity: string): MetricValue => (type === 'INT64' ? { int64Value: quantity } : { doubleValue: Number(quantity) });
  const fault = input.parts && costPartsFault(input.parts, input.quantity, COST_SPLIT_LIMITS.gcp!, (q) => FROM_ONE.test(q));
  if (fault) return wrong('gcp.user_labels_invalid', fault);

  const ended = input.refs['state'] === 'ENTITLEMENT_CANCELLED';
  const last = ended
    ? (instantOf(input.refs['updateTime'])?.getTime() ?? Number.POSITIVE_INFINITY) - BEFORE_END_MS
    : Number.POSITIVE_INFINITY;
  const endMs = Math.min(input.endsAt.getTime(), last);
  const startMs = Math.min(input.startsAt.getTime(), endMs);
  const [startTime, endTime] = [new Date(startMs).toISOString(), new Date(endMs).toISOString()];
  // Of the true interval, so that it is the same whether the end was known when it was built or not.
  const name = [entitlementId, input.dimension, input.startsAt.toISOString(), input.endsAt.toISOString()];
  const operationOf = (operationId: string, quantity: string): Operation => ({
    operationId,
    operationName: OPERATION_NAME,
    consumerId,
    startTime,
    endTime,
    metricValueSets: [{ metricName: input.dimension, metricValues: [valueOf(quantity)] }],
  });
  // User labels belong to an operation: each part is one of its own, over the same interval (contract gcp §4, userLabels).
  const wireKey = uuidv5('gcp.operation', ...name);
  const body = input.parts
    ? `[${input.parts.map((p) => JSON.stringify({ ...operationOf(uuidv5('gcp.operation', ...name, labelsKey(p.labels)), p.quantity), userLabels: p.labels })).join(',')}]`
    : JSON.stringify(operationOf(wireKey, input.quantity));
  const route: GcpRoute = {
    serviceName,
    consumerId,
    entitlementId,
    month: billingMonthOf(input.hourStart),
    ended: ended ? 'true' : 'false',
    ...(body.length > SMALL_BYTES ? { alone: input.itemId } : {}),
  };
  return { itemId: input.itemId, wireKey, body, route };
}

/** 100 items of so much stay below the 1 MB of a request; a larger one goes alone. */
const SMALL_BYTES = 9_000;

/** The operations of an item: one, or one for each part of a record that is split by labels. */
export function operationsOf(item: UsageWireItem): Operation[] {
  const body = jsonOf(item.body) as Operation | Operation[];
  return Array.isArray(body) ? body : [body];
}

/** Their bytes as they stand in a request. */
export const operationBytes = ({ body }: UsageWireItem): string => (body.startsWith('[') ? body.slice(1, -1) : body);

/** Records of the month before go out in batches of their own (money.md "Month end"). */
export const batchKey = (item: UsageWireItem): string =>
  `gcp|${item.route['serviceName'] ?? ''}|${item.route['month'] ?? ''}${item.route['alone'] ? `|${item.route['alone']}` : ''}`;

/** Each service is configured, and may be refused, on its own. */
export const gateOf = (item: UsageWireItem): string => item.route['serviceName'] ?? '';

/**
 * Google wants usage within an hour. Later reports are taken, until 01:00 Pacific on the 1st puts them on another invoice, or
 * until an hour after the cancellation (contract gcp §4, deadlines).
 */
export function deadlines(input: { hourStart: Date; hourEnd: Date; endedAt: Date | null }): Deadlines {
  const cutOff = monthCutOff(input.hourStart).getTime();
  const hard = input.endedAt ? Math.min(cutOff, input.endedAt.getTime() + HOUR) : cutOff;
  return { target: new Date(Math.min(input.hourEnd.getTime() + HOUR, hard)), hard: new Date(hard) };
}
