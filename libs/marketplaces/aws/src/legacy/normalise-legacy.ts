import { MarketplaceBusy, type FulfillmentEvent, type FulfillmentEventKind, type RecallRefs } from '#marketplaces/core';
import type { EntitlementReader } from '../entitlements.js';
import type { AwsSettings } from '../settings.js';
import { generationOf } from './generations.js';
import { legacyIdOf, type LegacyRefs, legacyTruth, newLegacyRefs } from './legacy-refs.js';
import type { LegacyNotification } from './notification.js';

/** How long an answer must stay empty before it ends a purchase: an end cannot be taken back. Business milliseconds. */
const EMPTY_FOR_MS = 30 * 60_000;
const ASK_AGAIN_MS = 5 * 60_000;

interface Deps {
  settings: AwsSettings;
  entitlements: EntitlementReader;
  /** Business time of a read. */
  now: Date;
  recall: RecallRefs | undefined;
}

/**
 * One legacy notification as a fact of the purchase. `at` is the notification's own time as UTC text with milliseconds.
 * What AWS says of entitlements is the same for a new, larger, renewed or ended contract, so they are read each time.
 */
export async function normaliseLegacy(told: LegacyNotification, at: string, receivedAt: Date, deps: Deps): Promise<FulfillmentEvent[]> {
  const { settings, entitlements, now } = deps;
  const { action, customerIdentifier, productCode } = told;
  const base = { marketplace: 'aws' as const, occurredAt: new Date(at) };
  // SNS names neither licence nor agreement: of a product with concurrent agreements it tells nothing usable (contract aws §4.2).
  if (!settings.productCodes.includes(productCode) || !settings.legacyProducts[productCode])
    return [{ ...base, kind: 'noted', externalSubscriptionId: '', truth: null, note: `${action}: not a legacy listing of ours` }];
  const value = ['subscribe-success', 'entitlement-updated'].includes(action)
    ? await entitlements.read(productCode, { customerIdentifier })
    : null;
  const begins = action === 'subscribe-success' || (action === 'entitlement-updated' && (value?.list.length ?? 0) > 0);
  const generation = await generationOf(productCode, customerIdentifier, { at, begins, recall: deps.recall });
  const refs: LegacyRefs = { ...newLegacyRefs(productCode, customerIdentifier, generation), lastEventAt: at };
  if (told.offerId) refs.offerId = { value: told.offerId, at };
  if (told.isFreeTrial !== null) refs.freeTrial = { value: told.isFreeTrial, at };
  let kind: FulfillmentEventKind = 'noted';
  let note = action;
  switch (action) {
    case 'subscribe-success':
      // Sent again when an agreement-based offer is accepted; then it is only an activation.
      kind = 'purchased';
      refs.succeededAt = at;
      break;
    case 'subscribe-fail':
      kind = 'ended';
      refs.failedAt = at;
      note = `${action}: the payment failed`;
      break;
    case 'unsubscribe-pending':
      kind = 'ended';
      refs.endedAt = at;
      break;
    case 'unsubscribe-success':
      kind = 'ended';
      refs.endedAt = at;
      refs.closedAt = at;
      break;
    case 'entitlement-updated':
      kind = 'changed';
      break;
    default:
      note = `${action}: not known`;
  }
  if (value) refs.entitlements = { value, at: now.toISOString() };
  // On a contract-only product no subscription message comes: a live entitlement is the success (contract aws §4.2).
  if (action === 'entitlement-updated' && value) {
    if (value.list.length > 0) {
      refs.succeededAt = at;
      kind = 'purchased';
    } else {
      // After a contract's end the answer is empty; it is also empty while it lags behind its own notification (contract aws §3).
      if (now.getTime() - Date.parse(at) < EMPTY_FOR_MS)
        throw new MarketplaceBusy('getEntitlements: empty; only an answer that stays empty is an end', ASK_AGAIN_MS);
      refs.endedAt = at;
      kind = 'ended';
    }
  }
  return [
    {
      ...base,
      kind,
      externalSubscriptionId: legacyIdOf(productCode, customerIdentifier, generation),
      truth: legacyTruth(refs, receivedAt),
      note,
      ...(kind === 'ended' ? { effectiveAt: new Date(at) } : {}),
    },
  ];
}
