import type { MarketplaceRefs } from '#marketplaces/core';
import { gcpRefsSchema, type Entitlement } from './truth.js';
import { instantOf } from './liberal.js';

/** The start that an ENTITLEMENT_OFFER_ACCEPTED told of this purchase, as it was kept. */
export function toldStartOf(refs: MarketplaceRefs | null | undefined): Date | null {
  const parsed = gcpRefsSchema.safeParse(refs);
  return parsed.success ? instantOf(parsed.data.toldStart) : null;
}

/**
 * A start that only the message told (contract gcp §3: do not provision yet) holds while the entitlement waits and GET shows none; a
 * shown one goes before it (ADR 0019). It is kept in the refs, because each later read leaves it out too.
 */
export function withToldStart(one: Entitlement, told: Date | null): Entitlement {
  if (!told || one.state !== 'ENTITLEMENT_ACTIVATION_REQUESTED' || one.newOfferStartsAt !== null) return one;
  const { buyerReady, ...truth } = one.truth;
  const isLater = told > truth.observedAt;
  return {
    ...one,
    truth: {
      ...truth,
      // Nothing is set up before its day, also for a buyer who is known.
      ...(isLater ? { state: 'scheduled' as const } : buyerReady === undefined ? {} : { buyerReady }),
      term: { ...truth.term, startsAt: told },
      refs: { ...truth.refs, toldStart: told.toISOString() },
    },
  };
}
