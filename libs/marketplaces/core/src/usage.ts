/** One item as it goes over the wire, stored before the first attempt; `body` is sent byte-identical on every resend. */
export interface UsageWireItem {
  itemId: string;
  /** The marketplace's dedupe key as text; outcomes are matched by it. */
  wireKey: string;
  /** The item's own JSON text inside a batch. */
  body: string;
  /** What the adapter needs beside the body to send it (region, product, service name). */
  route: Record<string, string>;
}

/** Outcomes of one item (money.md "Outcomes"). Quantities are decimal text. */
export type UsageItemOutcome = { itemId: string } & (
  | { outcome: 'accepted'; receipt: string; acceptedQuantity: string; at: Date | null }
  /** Their stored item equals ours: an earlier answer was lost. */
  | { outcome: 'duplicate_equal'; receipt: string; acceptedQuantity: string }
  | { outcome: 'duplicate_conflict'; receipt: string | null; acceptedQuantity: string | null }
  | { outcome: 'rejected'; code: string; detail: string }
  /** Not terminal: re-check the state, then resend the same bytes. */
  /** `serviceBlocked`: the marketplace says that the buyer may not be served just now; a look by `checkService` follows. */
  | { outcome: 'deferred'; code: string; detail: string; retryAfterMs: number; serviceBlocked?: boolean }
  | { outcome: 'expired'; detail: string }
  /** The answer was lost or made no sense. */
  | { outcome: 'unknown'; detail: string }
);

export interface ReadBackQuery {
  from: Date;
  to: Date;
  externalSubscriptionId?: string;
}

/** One line of the marketplace's own view, at its true grain (Azure: UTC day × purchase × plan × dimension). */
export interface ReadBackLine {
  periodStart: Date;
  periodEnd: Date;
  externalSubscriptionId: string;
  externalPlanId: string;
  dimension: string;
  /** Decimal text. */
  quantity: string;
  /** Number of items summed, where told. */
  count: number | null;
  /** The marketplace has not processed it yet: younger than its own lag. */
  provisional: boolean;
}

export interface Deadlines {
  /** Drives alerts. */
  target: Date;
  /** After this instant the marketplace takes it no more: drives order and money at risk. */
  hard: Date;
}

/** A token bucket: it fills with `perSecond` tokens, calls each, and holds `burst` at most. */
export interface UsageRate {
  perSecond: number;
  burst: number;
}

/**
 * A bucket for a marketplace that takes at most `limit` calls in any second. What a full bucket lets through at once and what comes
 * in within that second stay below it together, with a tenth to spare for calls that are held up on their way and arrive in one.
 */
export function withinAnySecond(limit: number): UsageRate {
  if (limit <= 1) return { perSecond: limit, burst: 1 };
  const burst = Math.max(1, Math.floor(limit / 5));
  return { perSecond: Math.max(limit / 2, 0.9 * limit - burst), burst };
}

/** Facts of how a marketplace takes usage, used by the pure `closeHour` and by the submitter. */
export interface UsageTraits {
  /**
   * `one_per_hour`: the dedupe key has no plan, so a second segment of an hour is deferred into the next (Azure).
   * `per_segment`: each segment has a key of its own (AWS licence); `interval`: true start and end times (GCP).
   */
  hourKey: 'one_per_hour' | 'per_segment' | 'interval';
  zeroWanted: boolean;
  /** Largest quantity of one item in emitted quanta; null without limit. */
  maxQuantity: bigint | null;
  /** How many decimals a quantity may have: 0 for whole numbers. */
  maxDecimals: number;
  batchSize: number;
  /** Calls of `submitUsage` that a gate (`gateOf`) lets through, over all workers, in real time; null without limit. */
  rate: UsageRate | null;
  /** How long an hour may wait for late sources, in minutes; and the same for the final hour. */
  holdLimitMinutes: number;
  finalHoldMinutes: number;
  /** A repeat of the identical item is answered safely by the marketplace. */
  safeResend: boolean;
}
