import type { MarketplaceRefs, SubscriptionTruth } from './words.js';

/**
 * A marketplace that changes the key of purchases in force (AWS: customer identifier, later licence; contract aws §0.3). It does not
 * tell which of them are one, so a person does.
 */
export interface KeyChange {
  /** With this their external ids begin that may be under the former key. */
  readonly formerPrefix: string;
  /** The instant from which this one's usage is not taken under its key any more; null where it is not under the former key, is joined, or no date is set. */
  dueAt(refs: MarketplaceRefs): Date | null;
  /** Whether both may be one purchase, as far as is known. */
  mayJoin(former: MarketplaceRefs, next: MarketplaceRefs): boolean;
  /**
   * Both, once a person has said that they are one: `next` supersedes `former`. `next` is null where nothing is known of it but its
   * `spelling`, the new key as calls take it. Throws `MarketplaceRefusal`. Pure.
   */
  join(
    former: MarketplaceRefs,
    next: MarketplaceRefs | null,
    spelling: string | null,
    now: Date,
  ): { former: SubscriptionTruth; next: SubscriptionTruth };
}
