import { realNow, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { readListingsNow, type ListingNow } from '#entitlements';
import { take } from '../domain/breaker.js';
import { readGates } from '../infra/gates.sql.js';
import { nextDeadline } from '../infra/items.sql.js';
import { rateOf, type MeteringDeps } from './deps.js';

export interface GateStatus {
  /** '' where the marketplace has one for the seller's whole account. */
  gate: string;
  state: 'closed' | 'open' | 'half_open';
  failures: number;
  reason: string | null;
  /** Business time since which it is not closed. */
  since: Date | null;
  /** Real time at which the next probe goes; earlier where a hard deadline is near. Null while it is closed. */
  pausedUntil: Date | null;
  lastAnsweredAt: Date | null;
  /** Calls that could go at once now; null without limit. */
  tokens: number | null;
}
export interface MarketplaceStatus {
  marketplace: Marketplace;
  /** The first hard deadline of what waits to be sent. */
  nextDeadline: Date | null;
  rate: { perSecond: number; burst: number } | null;
  gates: GateStatus[];
  listings: Omit<ListingNow, 'marketplace'>[];
}

/** How each configured marketplace is being asked now, and which of its listings are sent. Operators' role. */
export async function readMarketplaceStatus(tx: Tx, deps: MeteringDeps): Promise<MarketplaceStatus[]> {
  const business = deps.clock.now();
  const real = (deps.options?.realNow ?? realNow)();
  const gates = await readGates(tx);
  const listings = await readListingsNow(tx, business);
  const out: MarketplaceStatus[] = [];
  for (const adapter of deps.marketplaces.all()) {
    const { marketplace } = adapter;
    const rate = rateOf(deps, adapter);
    out.push({
      marketplace,
      nextDeadline: await nextDeadline(tx, business, marketplace),
      rate,
      gates: gates
        .filter((g) => g.marketplace === marketplace)
        .map((g) => ({
          gate: g.gate,
          state: g.state,
          failures: g.failures,
          reason: g.reason,
          since: g.since,
          pausedUntil: g.state !== 'closed' && g.failed ? new Date(g.failed.real.getTime() + g.pauseMs) : null,
          lastAnsweredAt: g.answeredAt,
          tokens: rate ? Math.floor(take({ tokens: g.tokens, at: g.tokensAt }, rate, real, 0).tokens) : null,
        })),
      listings: listings.filter((l) => l.marketplace === marketplace).map(({ marketplace: _, ...l }) => l),
    });
  }
  return out;
}
