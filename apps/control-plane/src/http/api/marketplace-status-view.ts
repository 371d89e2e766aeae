import { z } from 'zod';
import { EMISSIONS } from '#entitlements';
import { MARKETPLACES } from '#marketplaces/core';
import type { MarketplaceStatus } from '#metering';
import { apiSchema } from '../support/api-schemas.js';

const at = z.iso.datetime();

export const marketplacesPage = apiSchema(
  'Marketplaces',
  z.object({
    items: z.array(
      z.object({
        marketplace: z.enum(MARKETPLACES),
        nextDeadline: at.nullable().describe('The first hard deadline of usage that waits to be sent.'),
        rate: z.object({ perSecond: z.number(), burst: z.number() }).nullable().describe('Calls with usage, each gate, over all workers.'),
        gates: z.array(
          z.object({
            gate: z.string().describe('AWS: a region; Google: a service; empty: the whole account.'),
            breaker: z.enum(['closed', 'open', 'half_open']),
            failures: z.int().describe('In a row.'),
            reason: z.string().nullable().describe('The last failure, in the words of the marketplace.'),
            since: at.nullable(),
            pausedUntil: at.nullable().describe('Real time. A probe goes earlier where a hard deadline is near.'),
            lastAnsweredAt: at.nullable(),
            tokens: z.int().nullable().describe('Calls that could go at once now.'),
          }),
        ),
        listings: z.array(
          z.object({
            offerId: z.string(),
            emission: z.enum(EMISSIONS),
            since: at.nullable(),
            next: z.object({ emission: z.enum(EMISSIONS), from: at }).nullable(),
          }),
        ),
      }),
    ),
  }),
);

const text = (d: Date | null): string | null => d?.toISOString() ?? null;

export const marketplacesView = (all: MarketplaceStatus[]): z.input<typeof marketplacesPage> => ({
  items: all.map((m) => ({
    marketplace: m.marketplace,
    nextDeadline: text(m.nextDeadline),
    rate: m.rate,
    gates: m.gates.map(({ state, ...g }) => ({
      ...g,
      breaker: state,
      since: text(g.since),
      pausedUntil: text(g.pausedUntil),
      lastAnsweredAt: text(g.lastAnsweredAt),
    })),
    listings: m.listings.map(({ externalOfferId, emission, since, next }) => ({
      offerId: externalOfferId,
      emission,
      since: text(since),
      next: next && { emission: next.emission, from: next.from.toISOString() },
    })),
  })),
});
