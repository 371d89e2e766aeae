import { ProblemError } from '#platform';

interface Window {
  startedAt: number;
  count: number;
}

/**
 * Arrivals at the landing page, which nobody needs to be known for and each of which asks the marketplace: so many a minute from one
 * address, and so many in all. Real time; counts are this process's own.
 */
export class LandingThrottle {
  private readonly windows = new Map<string, Window>();
  private all: Window = { startedAt: 0, count: 0 };

  constructor(
    private readonly nowMs: () => number,
    private readonly limits = { perAddress: 30, inAll: 600, windowMs: 60_000, addresses: 10_000 },
  ) {}

  /** Throws `landing.too_many` (429). */
  admit(address: string): void {
    const now = this.nowMs();
    if (now - this.all.startedAt >= this.limits.windowMs) {
      this.all = { startedAt: now, count: 0 };
      // All windows are as long: what began before this one is over.
      for (const [key, one] of this.windows) if (now - one.startedAt >= this.limits.windowMs) this.windows.delete(key);
    }
    let own = this.windows.get(address);
    if (!own || now - own.startedAt >= this.limits.windowMs) own = { startedAt: now, count: 0 };
    if (own.count >= this.limits.perAddress || this.all.count >= this.limits.inAll)
      throw new ProblemError('too_many', 'landing.too_many', 'Too many visits at once. Wait a minute, then open the page again.');
    own.count += 1;
    this.all.count += 1;
    // A flood of addresses is held by the limit in all, not by memory.
    if (this.windows.has(address) || this.windows.size < this.limits.addresses) this.windows.set(address, own);
  }
}
