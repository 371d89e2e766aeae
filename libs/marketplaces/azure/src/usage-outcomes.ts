import { equalDecimals } from '#platform';
import type { UsageItemOutcome, UsageWireItem } from '#marketplaces/core';
import type { components } from '../../../../openapi/generated/azure-metering.js';
import { parseExactJson } from './exact-json.js';
import { decimalOf, type Fields, fieldsOf, guidOf, instantOf, textOf } from './liberal.js';
import { hourText, usageKey } from './usage-item.js';

type UsageStatus = components['schemas']['UsageStatus'];

/** Their stored item equals ours only if all of these do. */
interface OwnItem {
  resourceId: string;
  dimension: string;
  hour: string;
  planId: string;
  quantity: string;
}

const NOT_ACTIVE_RETRY_MS = 15 * 60_000;
const ERROR_RETRY_MS = 60_000;

const REJECTED: Partial<Record<UsageStatus, string>> = {
  ResourceNotFound: 'azure.resource_not_found',
  ResourceNotAuthorized: 'azure.resource_not_authorised',
  InvalidDimension: 'azure.invalid_dimension',
  InvalidQuantity: 'azure.invalid_quantity',
  BadArgument: 'azure.bad_argument',
};

/** Outcomes of a batch that was answered with 200; results are matched by key, never by their place (contract azure §6). */
export function readBatchAnswer(items: readonly UsageWireItem[], text: string): UsageItemOutcome[] {
  let results: unknown;
  try {
    results = fieldsOf(parseExactJson(text))['result'];
  } catch {
    results = undefined;
  }
  const byKey = new Map<string, Fields[]>();
  for (const raw of Array.isArray(results) ? results : []) {
    const result = fieldsOf(raw);
    const key = keyOf(result) ?? keyOf(acceptedOf(result));
    if (key) byKey.set(key, [...(byKey.get(key) ?? []), result]);
  }
  return items.map((item) => {
    const result = byKey.get(item.wireKey)?.shift();
    return result ? outcomeOf(item, result) : { itemId: item.itemId, outcome: 'unknown', detail: 'the answer does not speak of this item' };
  });
}

function outcomeOf(item: UsageWireItem, result: Fields): UsageItemOutcome {
  const { itemId } = item;
  const own = ownItem(item);
  const status = statusOf(result);
  const error = fieldsOf(result['error']);
  const detail =
    [textOf(error['message']), ...(Array.isArray(error['details']) ? error['details'] : []).map((one) => textOf(fieldsOf(one)['message']))]
      .filter((one) => one !== null)
      .join(' ') ||
    status ||
    'no status';
  const rejected = REJECTED[status as UsageStatus];
  if (rejected) return { itemId, outcome: 'rejected', code: rejected, detail };
  switch (status as UsageStatus) {
    case 'Accepted': {
      const receipt = textOf(result['usageEventId']);
      // Accepted without proof is not proof.
      if (!receipt) return { itemId, outcome: 'unknown', detail: 'accepted without an id' };
      return {
        itemId,
        outcome: 'accepted',
        receipt,
        acceptedQuantity: decimalOf(result['quantity']) ?? own.quantity,
        at: instantOf(result['messageTime']),
      };
    }
    case 'Duplicate':
      return duplicateOf(itemId, own, acceptedOf(result));
    case 'Expired':
      return { itemId, outcome: 'expired', detail };
    case 'ResourceNotActive':
      return { itemId, outcome: 'deferred', code: 'azure.resource_not_active', detail, retryAfterMs: NOT_ACTIVE_RETRY_MS };
    case 'Error':
      return { itemId, outcome: 'deferred', code: 'azure.error', detail, retryAfterMs: ERROR_RETRY_MS };
    default:
      return { itemId, outcome: 'unknown', detail: `a status that is not known: ${detail}` };
  }
}

function duplicateOf(itemId: string, own: OwnItem, accepted: Fields): UsageItemOutcome {
  const quantity = decimalOf(accepted['quantity']);
  const receipt = textOf(accepted['usageEventId']);
  if (receipt && quantity !== null && isSameItem(own, accepted, quantity))
    return { itemId, outcome: 'duplicate_equal', receipt, acceptedQuantity: quantity };
  return { itemId, outcome: 'duplicate_conflict', receipt, acceptedQuantity: quantity };
}

/** A field they leave out cannot differ. Their time may lie anywhere in the hour. */
function isSameItem(own: OwnItem, accepted: Fields, quantity: string): boolean {
  const plan = textOf(accepted['planId']);
  const at = instantOf(accepted['effectiveStartTime']);
  const resource = guidOf(accepted['resourceId']);
  const dimension = textOf(accepted['dimension']);
  return (
    sameQuantity(own.quantity, quantity) &&
    (plan === null || plan === own.planId) &&
    (at === null || hourText(at) === own.hour) &&
    (resource === null || resource === own.resourceId) &&
    (dimension === null || dimension === own.dimension)
  );
}

const DOUBLE_DIGITS = 15;

/** Exact; but a double at their side cannot hold more than fifteen digits, and then equal doubles are all there is to compare. */
export function sameQuantity(ours: string, theirs: string): boolean {
  if (equalDecimals(ours, theirs)) return true;
  return ours.replace(/\D/g, '').replace(/^0+/, '').length > DOUBLE_DIGITS && Number(ours) === Number(theirs);
}

function ownItem(item: UsageWireItem): OwnItem {
  const body = fieldsOf(parseExactJson(item.body));
  return {
    resourceId: textOf(body['resourceId']) ?? '',
    dimension: textOf(body['dimension']) ?? '',
    hour: textOf(body['effectiveStartTime']) ?? '',
    planId: textOf(body['planId']) ?? '',
    quantity: typeof body['quantity'] === 'string' ? '' : (decimalOf(body['quantity']) ?? ''),
  };
}

/** Seen beside the item's error and, on the single call, at the top. */
function acceptedOf(result: Fields): Fields {
  const places = [fieldsOf(fieldsOf(result['error'])['additionalInfo']), fieldsOf(result['additionalInfo'])];
  return fieldsOf(places.map((place) => place['acceptedMessage']).find((one) => one !== undefined));
}

function keyOf(fields: Fields): string | null {
  const resource = guidOf(fields['resourceId']);
  const dimension = textOf(fields['dimension']);
  const at = instantOf(fields['effectiveStartTime']);
  return resource && dimension && at ? usageKey(resource, dimension, hourText(at)) : null;
}

function statusOf(result: Fields): string | null {
  const status = textOf(result['status']);
  if (!status) return null;
  const known: string[] = ['Accepted', 'Duplicate', 'Expired', 'ResourceNotActive', 'Error', ...Object.keys(REJECTED)];
  return known.find((word) => word.toLowerCase() === status.toLowerCase()) ?? status;
}
