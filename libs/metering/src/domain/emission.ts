import type { Emission } from '#entitlements';
import type { HourSegment, Unsent } from './types.js';

/** What becomes of usage of that hour in this segment; null where its plan does not have the meter. */
export function emissionAt(segment: HourSegment, hour: bigint): Emission | null {
  if (!segment.terms) return null;
  return segment.emissions?.findLast((e) => e.from <= hour)?.emission ?? segment.terms.emission;
}

/** Records are made and never sent: another kit sends them, or they are invoiced outside. */
export const unsentOf = (emission: Emission | null | undefined): Unsent | null =>
  emission === 'shadow' ? 'shadow' : emission === 'invoice' ? 'invoiced_outside' : null;

/** The cause under which usage of an hour is `non_billable` for its emission; null where it is billed. */
export const notBilledFor = (emission: Emission | null): Unsent | 'emission_none' | null =>
  emission === 'none' ? 'emission_none' : unsentOf(emission);
