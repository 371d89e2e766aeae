import type { UsageItemOutcome, UsageWireItem } from '#marketplaces/core';
import type { components } from '../../../../openapi/generated/gcp-servicecontrol.js';
import { fieldsOf, isFields, jsonOf, listOf, textOf } from './liberal.js';
import { operationsOf } from './usage-item.js';

type CheckErrorCode = components['schemas']['CheckErrorCode'];

const MINUTE = 60_000;
/** Policy changes take about a minute there. */
const SOON_MS = MINUTE;
const LATER_MS = 15 * MINUTE;

export interface Blocked {
  code: string;
  detail: string;
  retryAfterMs: number;
  /** Google wants us to stop serving until it is resolved (contract gcp §4, checkErrors). */
  stopsService: boolean;
  /** Also answered for a purchase that has ended: then the usage before the end may still be reported. */ maybeEnded: boolean;
}

const RETRY: Partial<Record<CheckErrorCode, number>> = {
  NAMESPACE_LOOKUP_UNAVAILABLE: SOON_MS,
  SERVICE_STATUS_UNAVAILABLE: SOON_MS,
  BILLING_STATUS_UNAVAILABLE: SOON_MS,
  CLOUD_RESOURCE_MANAGER_BACKEND_UNAVAILABLE: SOON_MS,
  RESOURCE_EXHAUSTED: SOON_MS,
  SERVICE_NOT_ACTIVATED: 5 * MINUTE,
};
const STOPS: readonly string[] = ['BILLING_DISABLED', 'SERVICE_NOT_ACTIVATED', 'PROJECT_DELETED'] satisfies CheckErrorCode[];
const MAYBE_ENDED: readonly string[] = [
  'SERVICE_NOT_ACTIVATED',
  'NOT_FOUND',
  'PROJECT_DELETED',
  'BILLING_DISABLED',
  'CONSUMER_INVALID',
  'PROJECT_INVALID',
] satisfies CheckErrorCode[];

/** Null: clean. Undefined: the answer made no sense. No check error is final: usage is kept and asked again (money.md "Outcomes"). */
export function readCheckAnswer(text: string): Blocked | null | undefined {
  const body = jsonOf(text);
  if (!isFields(body)) return undefined;
  const given = body['checkErrors'];
  if (given !== undefined && given !== null && !Array.isArray(given)) return undefined;
  const [first] = listOf(given).map(fieldsOf);
  if (!first) return null;
  const code = textOf(first['code']) ?? 'ERROR_CODE_UNSPECIFIED';
  return {
    code: `gcp.${code.toLowerCase()}`,
    detail: textOf(first['detail']) ?? code,
    retryAfterMs: RETRY[code as CheckErrorCode] ?? (code.endsWith('_UNAVAILABLE') ? SOON_MS : LATER_MS),
    stopsService: STOPS.includes(code),
    maybeEnded: MAYBE_ENDED.includes(code),
  };
}

/** google.rpc codes by which an operation may be refused. */
const RPC: Record<number, string> = {
  1: 'cancelled',
  2: 'unknown',
  3: 'invalid_argument',
  4: 'deadline_exceeded',
  5: 'not_found',
  6: 'already_exists',
  7: 'permission_denied',
  8: 'resource_exhausted',
  9: 'failed_precondition',
  10: 'aborted',
  11: 'out_of_range',
  12: 'unimplemented',
  13: 'internal',
  14: 'unavailable',
  15: 'data_loss',
  16: 'unauthenticated',
};
/** "Consumer … not found or not active" until the reporting id is live, rights not given yet, and what passes by itself. */
const PASSING: Record<number, number> = {
  4: SOON_MS,
  5: 5 * MINUTE,
  7: LATER_MS,
  8: SOON_MS,
  9: 5 * MINUTE,
  10: SOON_MS,
  13: SOON_MS,
  14: SOON_MS,
  16: LATER_MS,
};

/** 200 does not mean accepted: errors are listed by operation, and an operation without one is accepted (contract gcp §4). */
export function readReportAnswer(items: readonly UsageWireItem[], text: string, safeResend = true): UsageItemOutcome[] {
  const body = jsonOf(text);
  const given = fieldsOf(body)['reportErrors'];
  if (!isFields(body) || (given !== undefined && given !== null && !Array.isArray(given)))
    return items.map(({ itemId }) => ({ itemId, outcome: 'unknown', detail: 'the answer is not one of Service Control' }));
  const errors = new Map<string, unknown>();
  let strays = 0;
  const known = new Set(items.flatMap((item) => operationsOf(item).map((o) => o.operationId)));
  for (const raw of listOf(given)) {
    const id = textOf(fieldsOf(raw)['operationId']);
    if (id && known.has(id)) errors.set(id, fieldsOf(raw)['status']);
    else strays += 1;
  }
  return items.map((item) => {
    const operations = operationsOf(item).map((o) => o.operationId);
    const refused = operations.filter((id) => errors.has(id)).map((id) => refusedOf(item, fieldsOf(errors.get(id))));
    if (refused.length > 0) return inSum(item, refused, operations.length - refused.length, safeResend);
    // An error that names no operation of ours may mean any of them.
    if (strays > 0)
      return { itemId: item.itemId, outcome: 'unknown', detail: 'the answer holds an error that names none of our operations' };
    return { itemId: item.itemId, outcome: 'accepted', receipt: item.wireKey, acceptedQuantity: quantityOf(item), at: null };
  });
}

/**
 * The outcome of an item of which some operations were refused. Where all say the same it is that; where some were taken, the same
 * bytes may go again only while Google drops what it has: else nobody may guess (ADR 0012).
 */
function inSum(item: UsageWireItem, refused: UsageItemOutcome[], taken: number, safeResend: boolean): UsageItemOutcome {
  const [first] = refused;
  const alike = refused.every((r) => r.outcome === first!.outcome);
  if (alike && (taken === 0 || (first!.outcome === 'deferred' && safeResend))) return first!;
  const why = 'detail' in first! ? first.detail : first!.outcome;
  return { itemId: item.itemId, outcome: 'unknown', detail: `of ${taken + refused.length} parts ${taken} were taken: ${why}` };
}

function refusedOf(item: UsageWireItem, status: Record<string, unknown>): UsageItemOutcome {
  const { itemId } = item;
  const number = typeof status['code'] === 'number' ? status['code'] : Number.NaN;
  const name = RPC[number];
  const detail = textOf(status['message']) ?? name ?? 'no detail';
  if (!name || number === 2) return { itemId, outcome: 'unknown', detail: `an error without a known code: ${detail}` };
  // An identical one is passed over in silence: under this id they hold other content, and do not tell which.
  if (number === 6) return { itemId, outcome: 'duplicate_conflict', receipt: item.wireKey, acceptedQuantity: null };
  const retryAfterMs = PASSING[number];
  if (retryAfterMs !== undefined) return { itemId, outcome: 'deferred', code: `gcp.${name}`, detail, retryAfterMs };
  return { itemId, outcome: 'rejected', code: `gcp.${name}`, detail };
}

/** Our own bytes: Google tells no quantity. */
function quantityOf(item: UsageWireItem): string {
  const values = operationsOf(item).map((o) => {
    const [value] = o.metricValueSets[0]!.metricValues;
    return value?.int64Value ?? String(value?.doubleValue);
  });
  return values.reduce((sum, v) => sum + BigInt(v), 0n).toString();
}
