import { afterEach, expect } from 'vitest';
import { ManualClock } from '#platform/testing';
import type { MarketplaceAdapter, UsageItemOutcome, UsageWireItem } from '#marketplaces/core';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, door, GIB, Harness, STORED, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');
export type Send = (items: UsageWireItem[]) => Promise<UsageItemOutcome[]>;

/** A house whose records wait to be sent, one for each test, and a marketplace that answers as the test says. */
export class WaitingHouse {
  h!: Harness;
  /** The clock of leases, rates and time-outs. */
  real!: ManualClock;
  /** What the marketplace was asked, call by call. */
  asked: UsageWireItem[][] = [];
  answer: (send: Send) => Send = (send) => send;
  private database: TestDatabase | undefined;

  constructor() {
    afterEach(async () => {
      await this.h.close();
      await this.database?.drop();
    });
  }

  /** `purchases` with `hours` closed hours each from `start` on, nothing sent yet. */
  async open(purchases: number, hours: number, usage: Partial<MarketplaceAdapter['usage']> = {}, start = START): Promise<Purchase[]> {
    this.asked = [];
    this.answer = (send) => send;
    this.real = new ManualClock(new Date('2026-01-01T00:00:00Z'));
    this.database = await createTestDatabase();
    const asking = door((send) => (items) => {
      this.asked.push(items);
      return this.answer(send)(items);
    });
    this.h = await Harness.open(this.database.url(), this.database.secret, start, asking, usage, { realNow: () => this.real.now() });
    const plan = await this.h.fixtures.plan([STORED]);
    const bought: Purchase[] = [];
    for (let i = 0; i < purchases; i++) bought.push(await this.h.buy(plan, start));
    const end = new Date(start.getTime() + hours * 3_600_000);
    this.h.clock.set(end);
    await this.h.report(
      bought.map((p) => p.placementId),
      start,
      end,
      3n * GIB,
    );
    await this.h.metering.closeDueHours();
    return bought;
  }

  /** Rows by a word of theirs (`what`). */
  async counted(sql: string): Promise<Record<string, number>> {
    return Object.fromEntries((await this.h.rows<{ what: string; n: number }>(sql)).map((r) => [r.what, r.n]));
  }

  states(): Promise<Record<string, number>> {
    return this.counted('select state as what, count(*)::int as n from submission_items group by state');
  }

  async lawHolds(): Promise<void> {
    const law = await this.h.db.ops((tx) => this.h.metering.checkSumLaw(tx));
    expect(law.series.flatMap((s) => s.missing)).toEqual([]);
    expect(law.ok).toBe(true);
  }
}
