import { z } from 'zod';
import { toPublicId } from '#platform';
import type { SumLawSeries } from '#metering';
import { apiSchema } from '../support/api-schemas.js';

/** Of a house that is badly broken the first say enough. */
const SHOWN = 500;

export const sumLawCheck = apiSchema(
  'SumLawCheck',
  z.object({
    ok: z.boolean(),
    checked: z.int().describe('Series that were looked at.'),
    broken: z.int().describe('Of these, how many do not balance or lack rows.'),
    items: z
      .array(
        z.object({
          subscriptionId: z.string(),
          meter: z.string().describe('Empty where only the purchase is known.'),
          difference: z.string().describe('Base units, exact; "0" where only rows are missing.'),
          missing: z.array(z.string()).describe('What contradicts what, a sentence each.'),
        }),
      )
      .describe(`Those that are broken, ${SHOWN} at most.`),
  }),
);

export const sumLawCheckView = ({ checked, broken }: { checked: number; broken: SumLawSeries[] }): z.input<typeof sumLawCheck> => ({
  ok: broken.length === 0,
  checked,
  broken: broken.length,
  items: broken.slice(0, SHOWN).map((s) => ({
    subscriptionId: toPublicId('sub', s.subscriptionId),
    meter: s.meter,
    difference: s.difference.toString(),
    missing: s.missing,
  })),
});
