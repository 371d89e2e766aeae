import { type Fields, fieldsOf, guidOf, instantOf, isFields, seatsOf, textOf } from './liberal.js';

export type OperationStatus = 'pending' | 'succeeded' | 'failed' | 'superseded' | 'unknown';

/** A webhook's body or the answer of Get Operation: the same words, one told, the other re-read. */
export interface AzureOperation {
  operationId: string | null;
  externalSubscriptionId: string | null;
  /** As received, without blanks. */
  action: string;
  status: OperationStatus;
  planId: string | null;
  quantity: number | null;
  at: Date | null;
  /** We asked for it ourselves (publisher-initiated). */
  byUs: boolean;
  raw: Fields;
}

const STATUS: Record<string, OperationStatus> = {
  notstarted: 'pending',
  inprogress: 'pending',
  succeeded: 'succeeded',
  success: 'succeeded',
  failed: 'failed',
  failure: 'failed',
  conflict: 'superseded',
};

/** The status with its meaning; null where the object is no operation. */
export function operationOf(raw: unknown): AzureOperation | null {
  if (!isFields(raw)) return null;
  const action = textOf(raw['action']) ?? textOf(raw['operationType']);
  if (!action) return null;
  // The documents write operationRequestSource, the emulator operationRequestedSource (contract azure §4).
  const source = textOf(raw['operationRequestSource']) ?? textOf(raw['operationRequestedSource']);
  return {
    operationId: guidOf(raw['id']),
    externalSubscriptionId: guidOf(raw['subscriptionId']) ?? guidOf(fieldsOf(raw['subscription'])['id']),
    action,
    status: STATUS[(textOf(raw['status']) ?? '').toLowerCase()] ?? 'unknown',
    planId: textOf(raw['planId']),
    quantity: seatsOf(raw['quantity']),
    at: instantOf(raw['timeStamp']),
    byUs: source?.toLowerCase() === 'partner',
    raw,
  };
}

export type KnownAction = 'subscribe' | 'unsubscribe' | 'changeplan' | 'changequantity' | 'suspend' | 'reinstate' | 'renew';
const KNOWN: readonly string[] = [
  'subscribe',
  'unsubscribe',
  'changeplan',
  'changequantity',
  'suspend',
  'reinstate',
  'renew',
] satisfies KnownAction[];

/** Null for an action this adapter does not know: Microsoft may add some at any time (contract azure §4). */
export function knownAction(action: string): KnownAction | null {
  const word = action.toLowerCase();
  return KNOWN.includes(word) ? (word as KnownAction) : null;
}

export const isChange = (action: KnownAction | null): action is 'changeplan' | 'changequantity' =>
  action === 'changeplan' || action === 'changequantity';

const EVIDENCE = [
  'id',
  'subscriptionId',
  'action',
  'status',
  'planId',
  'quantity',
  'timeStamp',
  'operationRequestSource',
  'errorStatusCode',
  'errorMessage',
];

/** What Get Operation said, in its own words; nothing else of it is kept, as it may name persons. */
export const evidenceOf = (operation: AzureOperation): Fields =>
  Object.fromEntries(EVIDENCE.flatMap((name) => (operation.raw[name] === undefined ? [] : [[name, operation.raw[name]]])));
