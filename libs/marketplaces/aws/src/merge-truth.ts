import type { FulfillmentEvent, SubscriptionTruth } from '#marketplaces/core';
import { mergeLegacy, readLegacyRefs } from './legacy/legacy-refs.js';
import { joinRefs, NOTHING_KNOWN, readRefs, truthOfRefs } from './refs.js';

/**
 * Completes what one message or landing told with what is known of the purchase. The kind follows what came of it: the same
 * License Updated is a purchase before we serve, the activation afterwards, and nothing after the end.
 */
export function mergeTruth(previous: SubscriptionTruth | null, event: FulfillmentEvent): FulfillmentEvent {
  const legacy = event.truth && readLegacyRefs(event.truth.refs);
  if (legacy) return mergeLegacy(previous && readLegacyRefs(previous.refs), legacy, previous, event);
  const before = previous && readRefs(previous.refs);
  const told = event.truth && readRefs(event.truth.refs);
  if (!before && !told) return event;
  const joined = { ...joinRefs(before ?? NOTHING_KNOWN, told ?? NOTHING_KNOWN), licenseId: event.externalSubscriptionId };
  // An agreement's message alone makes no purchase: the product is not in it (contract aws §4.1).
  if (joined.licenseId === '' || joined.productCode === null) return { ...event, truth: null };
  const observedAt = new Date(Math.max(previous?.observedAt.getTime() ?? 0, event.truth?.observedAt.getTime() ?? 0, 0));
  const truth = truthOfRefs(joined, observedAt);
  const merged: FulfillmentEvent = { ...event, truth };
  if (event.kind === 'ended') return { ...merged, effectiveAt: truth.endsAt ?? event.occurredAt };
  if (truth.state === 'ended' && ['purchased', 'activated', 'renewed'].includes(event.kind))
    return { ...merged, kind: 'noted', note: `${event.note}: the purchase has ended` };
  if (event.kind === 'purchased' && truth.state === 'active') return { ...merged, kind: 'activated' };
  const [old, now] = [previous?.term.endsAt ?? null, truth.term.endsAt];
  if (event.kind === 'noted' && old && now && now > old) return { ...merged, kind: 'renewed' };
  return merged;
}
