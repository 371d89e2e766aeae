import type { Metrics } from '#platform';
import type { MarketplaceStatus } from '#metering';

const LEVEL = { closed: 0, half_open: 1, open: 2 } as const;

/** Breakers and listings that send nothing, as gauges. */
export function measureMarketplaces(metrics: Metrics, all: MarketplaceStatus[]): void {
  const breaker = metrics.gauge('berth_marketplace_breaker', 'Breaker of usage calls: 0 closed, 1 probing, 2 open', [
    'marketplace',
    'gate',
  ]);
  const silent = metrics.gauge('berth_listing_not_live', 'Listings whose usage is not sent', ['marketplace', 'offer', 'emission']);
  breaker.reset();
  silent.reset();
  for (const { marketplace, gates, listings } of all) {
    for (const { gate, state } of gates) breaker.set({ marketplace, gate }, LEVEL[state]);
    for (const { externalOfferId: offer, emission } of listings) if (emission !== 'live') silent.set({ marketplace, offer, emission }, 1);
  }
}
