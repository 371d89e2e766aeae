import { type Marketplace, MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown } from '../index.js';
import type { FakeFault, FakeOperation } from './fake-words.js';

/** The line to the fake: what was called over it, and what goes wrong on the way. */
export class FakeLine {
  /** Every call of the port that reached the other side, in order. */
  readonly calls: { operation: FakeOperation; subject: string }[] = [];
  private readonly faults: { operation: FakeOperation; fault: FakeFault; retryAfterMs: number | null }[] = [];

  constructor(private readonly marketplace: Marketplace) {}

  failNext(operation: FakeOperation, fault: FakeFault, options: { times?: number; retryAfterMs?: number } = {}): void {
    for (let i = 0; i < (options.times ?? 1); i += 1) this.faults.push({ operation, fault, retryAfterMs: options.retryAfterMs ?? null });
  }

  async around<T>(operation: FakeOperation, subject: string, work: () => T): Promise<T> {
    const index = this.faults.findIndex((one) => one.operation === operation);
    const found = index < 0 ? undefined : this.faults.splice(index, 1)[0];
    if (found?.fault === 'busy') throw new MarketplaceBusy(`${operation}: busy`, found.retryAfterMs);
    if (found?.fault === 'refused') throw new MarketplaceRefusal('fake.refused', `${operation}: refused`);
    if (found?.fault === 'unauthorised')
      throw new MarketplaceRefusal(`${this.marketplace}.unauthorised`, `${operation}: the secret is not taken`, 401);
    if (found?.fault === 'unknown') throw new MarketplaceUnknown(`${operation}: no answer`);
    this.calls.push({ operation, subject });
    const result = work();
    if (found?.fault === 'lost') throw new MarketplaceUnknown(`${operation}: the answer was lost`);
    return result;
  }
}
