import { z } from 'zod';
import { MARKETPLACES } from '#marketplaces/core';
import { LEFT_WITHIN, type AtRisk } from '#metering';
import { apiSchema } from '../support/api-schemas.js';

const decimal = z.string().describe('Exact decimal text.');
const units = z.array(z.object({ dimension: z.string(), listedUnit: z.string(), units: decimal }));

export const atRiskPage = apiSchema(
  'AtRisk',
  z.object({
    asOf: z.iso.datetime().describe('Business time.'),
    items: z.array(
      z.object({
        marketplace: z.enum(MARKETPLACES),
        hours: z.int().describe('Frozen hours that are not accepted.'),
        pastTarget: z.int().describe('Of these, how many should have been accepted by now.'),
        nextDeadline: z.iso.datetime().nullable(),
        alert: z.enum(['none', 'warn', 'page']),
        buckets: z.array(
          z.object({
            within: z.enum(LEFT_WITHIN as [string, ...string[]]),
            hours: z.int(),
            dimensions: units,
            amounts: z.array(z.object({ currency: z.string(), amount: decimal, provisional: z.boolean() })),
            unpriced: units,
          }),
        ),
      }),
    ),
  }),
);

export const atRiskView = (now: Date, all: AtRisk[]): z.input<typeof atRiskPage> => ({
  asOf: now.toISOString(),
  items: all.map(({ items, nextDeadline, buckets, ...one }) => ({
    ...one,
    hours: items,
    nextDeadline: nextDeadline?.toISOString() ?? null,
    buckets: buckets.map(({ items: hours, ...bucket }) => ({ ...bucket, hours })),
  })),
});
