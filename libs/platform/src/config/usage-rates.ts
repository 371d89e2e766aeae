import { pairsOf } from './pairs.js';

const MARKETPLACES = ['azure', 'aws', 'gcp'] as const;
/** Above it a slip of the keyboard would be a flood. */
const MOST_PER_SECOND = 1_000;

/** Calls with usage a second that each gate of a marketplace lets through; null: as many as there are. Only what was given. */
export type UsageRates = Partial<Record<(typeof MARKETPLACES)[number], number | null>>;

/** `azure=20, gcp=off`. */
export const usageRatesOf = (text: string | undefined): UsageRates =>
  Object.fromEntries(pairsOf(text).map(([marketplace, rate]) => [marketplace, rate === 'off' ? null : Number(rate)]));

export function usageRateFaults(text: string | undefined): string[] {
  const wrong = pairsOf(text).some(
    ([marketplace, rate]) =>
      !MARKETPLACES.some((known) => known === marketplace) ||
      (rate !== 'off' && !(/^\d+(\.\d+)?$/.test(rate) && Number(rate) > 0 && Number(rate) <= MOST_PER_SECOND)),
  );
  return wrong
    ? [
        `BERTH_USAGE_RATES: each must be one of ${MARKETPLACES.join(', ')}, followed by = and calls a second up to ${MOST_PER_SECOND}, or off`,
      ]
    : [];
}
