import type { MeterTerms } from '#entitlements';
import type { CloseLine, FactsLine, JournalPlan } from '../domain/journal.js';
import type { SeriesRow } from '../infra/series.sql.js';

/**
 * Meters that another catalog has and the journal's plans have not: no step of the journal closes them. They close beside a
 * series of their purchase with the same source, else beside any of it.
 */
export interface NewMeters {
  plan(asItWas: JournalPlan): void;
  facts(facts: FactsLine): void;
  closesWith(series: Pick<SeriesRow, 'subscriptionId' | 'meter' | 'source'>, line: CloseLine): boolean;
}

export function newMeters(): NewMeters {
  const ofPlan = new Map<string, Map<string, MeterTerms['source']>>();
  const ofPurchase = new Map<string, Map<string, MeterTerms['source']>>();
  return {
    plan: (p) => void ofPlan.set(p.planVersionId, new Map(p.meters.map((m) => [m.meter, m.source]))),
    facts: (f) => void ofPurchase.set(f.subscriptionId, new Map(f.segments.flatMap((s) => [...(ofPlan.get(s.planVersionId) ?? [])]))),
    closesWith: (series, line) => {
      const known = ofPurchase.get(series.subscriptionId);
      if (!known || known.has(series.meter)) return false;
      if (![...known.values()].includes(series.source)) return true;
      return line.closed.some((c) => c.subscriptionId === series.subscriptionId && known.get(c.meter) === series.source);
    },
  };
}
