import type { MarketplaceAdapter } from '#marketplaces/core';
import type { FakeMarketplace } from '#marketplaces/core/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, GIB, Harness, STORED, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');

/** `n` purchases with one closed hour each, nothing sent yet. */
export async function houseOfClosedHours(
  n: number,
  wrap?: (m: FakeMarketplace) => MarketplaceAdapter,
  usage: Partial<MarketplaceAdapter['usage']> = {},
  leaseMs = 60_000,
): Promise<{ database: TestDatabase; h: Harness; purchases: Purchase[] }> {
  const database = await createTestDatabase();
  const h = await Harness.open(database.url(), database.secret, START, wrap, usage, { submissionLeaseMs: leaseMs });
  const plan = await h.fixtures.plan([STORED]);
  const purchases: Purchase[] = [];
  for (let i = 0; i < n; i++) purchases.push(await h.buy(plan, START));
  h.clock.set(at('10T11:00'));
  await h.report(
    purchases.map((p) => p.placementId),
    START,
    at('10T11:00'),
    3n * GIB,
  );
  await h.metering.closeDueHours();
  return { database, h, purchases };
}
