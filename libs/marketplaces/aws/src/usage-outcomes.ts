import type { UsageItemOutcome, UsageWireItem } from '#marketplaces/core';
import { type Fields, fieldsOf, licenceIdOf, textOf } from './liberal.js';
import { deadlines, hourOf, legacyHolder, usageKey } from './usage-item.js';

const HOUR = 3_600_000;
const NOT_SUBSCRIBED_RETRY_MS = 15 * 60_000;
const UNPROCESSED_RETRY_MS = 5_000;

export interface ReadingOptions {
  identicalResend: 'success' | 'duplicate';
  now: Date;
}

/** Outcomes of a call that was answered; results are matched by key, never by their place (contract aws §5). */
export function readBatchAnswer(items: readonly UsageWireItem[], answer: unknown, options: ReadingOptions): UsageItemOutcome[] {
  const { Results, UnprocessedRecords } = fieldsOf(answer);
  const productCode = items[0]?.route['productCode'];
  const keyOf = (raw: unknown): string | null => recordKeyOf(raw, typeof productCode === 'string' ? productCode : '');
  const results = new Map<string, Fields>();
  for (const raw of Array.isArray(Results) ? Results : []) {
    const key = keyOf(fieldsOf(raw)['UsageRecord']);
    if (key) results.set(key, fieldsOf(raw));
  }
  const left = new Set((Array.isArray(UnprocessedRecords) ? UnprocessedRecords : []).map(keyOf));
  return items.map((item) => {
    const result = results.get(item.wireKey);
    if (result) return outcomeOf(item, result, options);
    const { itemId } = item;
    if (left.has(item.wireKey))
      return { itemId, outcome: 'deferred', code: 'aws.unprocessed', detail: 'AWS did not get to it', retryAfterMs: UNPROCESSED_RETRY_MS };
    // Also a 200 without a body, in which the SDK finds no results (contract aws §6).
    return { itemId, outcome: 'unknown', detail: 'the answer does not speak of this item' };
  });
}

function outcomeOf(item: UsageWireItem, result: Fields, options: ReadingOptions): UsageItemOutcome {
  const { itemId } = item;
  const quantity = quantityOf(fieldsOf(JSON.parse(item.body))['Quantity'])!;
  const receipt = textOf(result['MeteringRecordId']);
  const status = textOf(result['Status']);
  switch (status?.toLowerCase()) {
    case 'success':
      // Accepted without proof is not proof; the same item again brings its receipt.
      if (!receipt) return { itemId, outcome: 'unknown', detail: 'Success without a MeteringRecordId' };
      return {
        itemId,
        outcome: 'accepted',
        receipt,
        acceptedQuantity: quantityOf(fieldsOf(result['UsageRecord'])['Quantity']) ?? quantity,
        at: null,
      };
    case 'duplicaterecord':
      // What is stored under the key is not told: the echo is our own record (contract aws §5.3).
      return options.identicalResend === 'duplicate'
        ? { itemId, outcome: 'duplicate_equal', receipt: receipt ?? `duplicate:${item.wireKey}`, acceptedQuantity: quantity }
        : { itemId, outcome: 'duplicate_conflict', receipt, acceptedQuantity: null };
    case 'customernotsubscribed':
      return notSubscribed(item, options.now);
    default:
      return { itemId, outcome: 'unknown', detail: `a status that is not known: ${status ?? 'none'}` };
  }
}

/** While a licence activates, or an account is in arrears, it may still be taken; after the end and after the window it is final. */
function notSubscribed(item: UsageWireItem, now: Date): UsageItemOutcome {
  const detail = 'CustomerNotSubscribed: AWS sees no active agreement of this licence and account';
  const code = 'aws.customer_not_subscribed';
  const hourStart = hourOf(new Date(Number(fieldsOf(JSON.parse(item.body))['Timestamp']) * 1000));
  const { hard } = deadlines({ hourStart, hourEnd: new Date(hourStart.getTime() + HOUR), endedAt: null });
  if (item.route['endedAt'] !== undefined || now >= hard) return { itemId: item.itemId, outcome: 'rejected', code, detail };
  return { itemId: item.itemId, outcome: 'deferred', code, detail, retryAfterMs: NOT_SUBSCRIBED_RETRY_MS };
}

const quantityOf = (value: unknown): string | null =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? String(value) : null;

function recordKeyOf(raw: unknown, productCode: string): string | null {
  const record = fieldsOf(raw);
  const identifier = textOf(record['CustomerIdentifier']);
  const [holder, dimension, at] = [
    licenceIdOf(record['LicenseArn']) ?? (identifier && legacyHolder(productCode, identifier)),
    textOf(record['Dimension']),
    record['Timestamp'],
  ];
  return holder && dimension && at instanceof Date && !Number.isNaN(at.getTime()) ? usageKey(holder, dimension, at.getTime()) : null;
}
