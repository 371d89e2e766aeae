import { sumDecimals } from '#platform';
import { isZero, minus } from './remittance.js';

export type VarianceName = 'price_unknown' | 'not_yet_visible' | 'missing_there' | 'credited' | 'less_than_usage' | 'more_than_usage';

/** invoiced − expected, in parts that add up to it; each has a name. Empty where both are equal. */
export function nameVariance(m: {
  /** Accepted units at their known prices. */
  expected: string;
  hasUnpriced: boolean;
  invoiced: string;
  credited: string;
  /** Younger than the time after which the marketplace's figures are expected. */
  young: boolean;
}): { name: VarianceName; amount: string }[] {
  const variance = sumDecimals([m.invoiced, minus(m.expected)]);
  const out: { name: VarianceName; amount: string }[] = [];
  let rest = variance;
  if (!isZero(m.credited) && variance.startsWith('-')) {
    // At most what is missing: a credit may be paid back in another month.
    const lower = sumDecimals([variance, m.credited]).startsWith('-') ? minus(m.credited) : variance;
    out.push({ name: 'credited', amount: lower });
    rest = sumDecimals([variance, minus(lower)]);
  }
  if (isZero(rest)) return out;
  const less = rest.startsWith('-');
  const name: VarianceName = less
    ? m.young
      ? 'not_yet_visible'
      : isZero(m.invoiced)
        ? 'missing_there'
        : 'less_than_usage'
    : m.hasUnpriced
      ? 'price_unknown'
      : // Flat fees of a plan are in a payout and are no usage.
        'more_than_usage';
  return [...out, { name, amount: rest }];
}
