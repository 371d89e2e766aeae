import type { MarketplaceAdapter } from './adapter.js';
import type { Marketplace } from './words.js';

/** Injection token of `MarketplaceRegistry`. */
export const MARKETPLACE_REGISTRY = Symbol('berth.marketplaces');

/** The configured adapters; bound only in the app. */
export class MarketplaceRegistry {
  private readonly adapters = new Map<Marketplace, MarketplaceAdapter>();
  constructor(adapters: MarketplaceAdapter[]) {
    for (const a of adapters) {
      if (this.adapters.has(a.marketplace)) throw new Error(`two adapters for ${a.marketplace}`);
      this.adapters.set(a.marketplace, a);
    }
  }
  get(marketplace: Marketplace): MarketplaceAdapter {
    const a = this.adapters.get(marketplace);
    if (!a) throw new Error(`no adapter is configured for ${marketplace}`);
    return a;
  }
  has(marketplace: Marketplace): boolean {
    return this.adapters.has(marketplace);
  }
  all(): MarketplaceAdapter[] {
    return [...this.adapters.values()];
  }
}
