import { groupBy } from '#platform';
import { COST_SPLIT_LIMITS, type Marketplace } from '#marketplaces/core';
import {
  OUR_METRICS,
  SAMPLE_KIND_OF,
  type Emission,
  type MeterIdentity,
  type MeterTerms,
  type PlanVersion,
} from '../domain/plan-version.js';

/** Two files of one listing must agree on what is a fact of the listing. */
export function saidTwice(plans: (Pick<PlanVersion, 'marketplace' | 'externalOfferId'> & { listingEmission?: Emission })[]): string[] {
  const said = new Map<string, Set<string>>();
  for (const p of plans) {
    const name = `${p.marketplace} offer ${p.externalOfferId}`;
    said.set(name, (said.get(name) ?? new Set()).add(p.listingEmission ?? 'live'));
  }
  return [...said]
    .filter(([, emissions]) => emissions.size > 1)
    .map(([name, emissions]) => `catalog.emission_conflict: ${name} is ${[...emissions].join(' in one file and ')} in another`);
}

export const repeated = (names: string[]): string[] => [...new Set(names.filter((name, i) => names.indexOf(name) !== i))];

/** What the schema cannot say. */
export function planFaults(plan: Omit<PlanVersion, 'version'>): string[] {
  const where = `plan ${plan.externalPlanId}`;
  return [
    ...(plan.regions.some((r) => r.id === plan.defaultRegion)
      ? []
      : [`${where}: defaultRegion ${plan.defaultRegion} is not one of its regions`]),
    ...((plan.quantity?.min ?? 1) > (plan.quantity?.max ?? Infinity) ? [`${where}: quantity.min is above quantity.max`] : []),
    ...repeated(plan.meters.map((m) => m.meter)).map((name) => `${where}: meter ${name} is there twice`),
    // Two meters of one dimension would be two records under one key, ours as the marketplace's: also where one of them is not sent,
    // or not sent yet (a listing's emission goes over a meter's).
    ...repeated(plan.meters.map((m) => m.dimension)).map((name) => `${where}: dimension ${name} is fed by two meters`),
    // A quantum that is not a whole number of base units could not be carried exactly (law 6).
    ...plan.meters
      .filter((m) => BigInt(m.basePerUnit) % 10n ** BigInt(m.decimals) !== 0n)
      .map((m) => `${where}, meter ${m.meter}: basePerUnit must be divisible by 10^${m.decimals}; lower decimals`),
    ...plan.meters
      .filter((m) => m.source === 'engine' && (SAMPLE_KIND_OF[m.kind] !== 'gauge' || !OUR_METRICS.engine.includes(m.metric)))
      .map(
        (m) =>
          `${where}, meter ${m.meter}: the engine tells ${OUR_METRICS.engine.join(', ')} as a gauge, and no ${m.metric} for a ${m.kind}`,
      ),
    ...plan.meters.flatMap((m) => costSplitFaults(plan.marketplace, m).map((fault) => `${where}, meter ${m.meter}: ${fault}`)),
  ];
}

function costSplitFaults(marketplace: Marketplace, { costSplit }: MeterTerms): string[] {
  if (!costSplit) return [];
  const limits = COST_SPLIT_LIMITS[marketplace];
  if (!limits) return [`catalog.cost_split_unknown: ${marketplace} knows no labels of usage; remove costSplit`];
  const { labels, rest } = costSplit;
  return [
    ...(labels.length > limits.labels ? [`costSplit: ${marketplace} takes ${limits.labels} labels at most`] : []),
    ...labels.filter((l) => !limits.key.test(l.as)).map((l) => `costSplit: ${marketplace} takes no label named ${JSON.stringify(l.as)}`),
    ...repeated(labels.map((l) => l.as)).map((as) => `costSplit: two labels are named ${JSON.stringify(as)} at the marketplace`),
    ...repeated(labels.map((l) => l.name)).map((name) => `costSplit: label ${name} is there twice`),
    ...(limits.value.test(rest) ? [] : [`costSplit: ${marketplace} takes no label value ${JSON.stringify(rest)}`]),
  ];
}

/**
 * One meter counts one metric in one way, and one metric has one kind of sample, wherever they are named: a series goes on over a
 * change of the plan, and a count that is read as an amount bills it all again with every sample. `counted`: what purchases count by;
 * where that contradicts itself (it was written before there was this rule), any of it may go on.
 */
export function meterFaults(meters: readonly MeterIdentity[], counted: readonly MeterIdentity[] = []): string[] {
  const rules = [
    {
      code: 'catalog.meter_differs',
      what: 'meter',
      name: (m: MeterIdentity) => m.meter,
      is: (m: MeterIdentity) => `${m.kind} of ${m.metric} (${m.source})`,
    },
    {
      code: 'catalog.metric_differs',
      what: 'metric',
      name: (m: MeterIdentity) => m.metric,
      is: (m: MeterIdentity) => `reported as ${SAMPLE_KIND_OF[m.kind]}`,
    },
  ];
  const faults = rules.flatMap(({ code, what, name, is }) => {
    const before = groupBy(counted, name);
    return meters.flatMap((m) => {
      const may = before.get(name(m)) ?? [meters.find((first) => name(first) === name(m))!];
      if (may.some((one) => is(one) === is(m))) return [];
      return [`${code}: ${what} ${name(m)} is ${is(may[0]!)} in one place and ${is(m)} in another; give it a name of its own`];
    });
  });
  return [...new Set(faults)];
}
