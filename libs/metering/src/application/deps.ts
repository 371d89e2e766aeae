import type { Calls, Clock, Database, Inbox, Logger, Metrics, Tasks } from '#platform';
import { withinAnySecond, type Marketplace, type MarketplaceAdapter, type MarketplaceRegistry } from '#marketplaces/core';

export interface MeteringOptions {
  /** Real milliseconds a claimed item is ours; longer than any adapter's time-outs. */
  submissionLeaseMs?: number;
  /** Calls with usage a second that a gate lets through, where not the adapter's own; null: no limit. */
  usageRates?: Partial<Record<Marketplace, number | null>>;
  /** Real time, for rates and breakers of marketplaces. Tests give one that they move. */
  realNow?: () => Date;
  /** Business time after which a marketplace's read-back is expected to show what it accepted. */
  readBackLagMs?: number;
  /** No source carries more; default 100 Gbit/s. */
  lineRateBytesPerSecond?: bigint;
  /** How many times the largest hour of the week before an hour may have before it is held; 0: any. Default 50. */
  implausibleTimes?: number;
  /** Series that one transaction closes; default 2,000. */
  seriesAtOnce?: number;
  /** Days that raw samples are kept; default 400, at least 71. */
  usageDaysKept?: number;
  /** Usage events that one commit takes, and that may wait in memory: of all, and of one poster. */
  intake?: { perGroup?: number; waiting?: number; each?: number };
}

/** What closing needs of a marketplace: its traits, its deadlines and the bytes of an item. Nothing in it can send. */
export type ClosingAdapter = Pick<MarketplaceAdapter, 'marketplace' | 'usage' | 'deadlines' | 'buildUsageItem' | 'batchKey' | 'gateOf'>;

/** What closing hours needs; `MeteringDeps` has it, and so has a replay, which has no more. */
export interface ClosingDeps {
  db: Database;
  clock: Clock;
  marketplaces: { all(): ClosingAdapter[] };
  logger: Logger;
  metrics?: Metrics;
  options?: Pick<MeteringOptions, 'lineRateBytesPerSecond' | 'implausibleTimes'>;
}

export interface MeteringDeps {
  db: Database;
  tasks: Tasks;
  calls: Calls;
  inbox?: Inbox;
  clock: Clock;
  marketplaces: MarketplaceRegistry;
  logger: Logger;
  metrics?: Metrics;
  options?: MeteringOptions;
}

/** How fast a marketplace is asked with usage: what an operator has set, else what its adapter says. */
export function rateOf(deps: MeteringDeps, { marketplace, usage }: Pick<MarketplaceAdapter, 'marketplace' | 'usage'>): typeof usage.rate {
  const set = deps.options?.usageRates?.[marketplace];
  if (set === undefined) return usage.rate;
  return set === null ? null : withinAnySecond(set);
}

const DEFAULT_LEASE_MS = 60_000;
/** How long an item is ours once its call may begin. */
export const leaseOf = (deps: MeteringDeps): number => deps.options?.submissionLeaseMs ?? DEFAULT_LEASE_MS;
