import { type Check, deviation, type Marketplace, readDataUnit } from '#marketplaces/core';
import type { MeterTerms, PlanVersion } from '#entitlements';

const HOUR_MICROSECONDS = 3_600_000_000n;

type Found = { fault: string } | { unread: string } | null;

/**
 * Meter name, dimension, listed unit and exact ratio must mean one thing (money.md, "Units"). Base units are byte-microseconds
 * for what is stored over time and bytes for what is counted. GB against GiB is 7.4 %: a red gate.
 */
export function unitCheck(marketplace: Marketplace, plans: Omit<PlanVersion, 'version'>[], maxDecimals: number): Check {
  const found = plans.flatMap((plan) => plan.meters.map((meter) => ({ where: `${plan.externalPlanId} ${meter.meter}`, meter })));
  const results = found.map(({ where, meter }) => ({ where, result: judge(meter, maxDecimals) }));
  const faults = [...new Set(results.flatMap(({ where, result }) => (result && 'fault' in result ? [`${where}: ${result.fault}`] : [])))];
  const unread = [...new Set(results.flatMap(({ where, result }) => (result && 'unread' in result ? [`${where}: ${result.unread}`] : [])))];
  const check = `${marketplace}.units`;
  if (faults.length > 0)
    return {
      check,
      result: 'fail',
      detail: faults.join('; '),
      remedy:
        'Make listedUnit the unit of the listing and basePerUnit its exact size (GB is 10^9 bytes, GiB 2^30; an hour of storage × 3 600 000 000 microseconds): docs/guides/catalog.md.',
    };
  if (unread.length > 0)
    return {
      check,
      result: 'unknown',
      detail: unread.join('; '),
      remedy: 'By hand: basePerUnit must be the exact size of one listed unit.',
    };
  const units = [...new Set(found.map(({ meter }) => meter.listedUnit))];
  return { check, result: 'pass', detail: `${found.length} meters agree with their listed units (${units.join(', ')})` };
}

function judge(meter: MeterTerms, maxDecimals: number): Found {
  if (meter.decimals > maxDecimals) return { fault: `${meter.decimals} decimals, and the marketplace takes ${maxDecimals}` };
  // What is no data (requests, nodes) is listed under words whose size only a person can tell.
  if (!meter.metric.endsWith('_bytes'))
    return { unread: `"${meter.listedUnit}" is compared by hand: ${meter.metric} is no amount of data` };
  const listed = readDataUnit(meter.listedUnit);
  if (!listed) return { unread: `"${meter.listedUnit}" is no unit of data that can be read` };
  if (listed.per === 'month') return { unread: `"${meter.listedUnit}": months differ in length, so no exact ratio exists` };
  if (meter.kind === 'gauge_integral' && listed.per !== 'hour')
    return { fault: `what is stored is sold over time, and "${meter.listedUnit}" names none` };
  if ((meter.kind === 'counter' || meter.kind === 'sum') && listed.per !== 'none')
    return { fault: `what is counted has no time in its unit "${meter.listedUnit}"` };
  // A level is one amount an hour, whether or not the listing's unit says so: only an integral is multiplied by time.
  const expected = listed.bytes * (meter.kind === 'gauge_integral' ? HOUR_MICROSECONDS : 1n);
  const ratio = BigInt(meter.basePerUnit);
  if (ratio !== expected)
    return { fault: `one ${meter.listedUnit} is ${expected} base units, basePerUnit says ${ratio} (${deviation(ratio, expected)})` };
  for (const [what, name] of [
    ['meter', meter.meter],
    ['dimension', meter.dimension.split('/').at(-1) ?? ''],
  ] as const) {
    const named = readDataUnit(name);
    if (!named || named.per === 'month') continue;
    if (named.bytes !== listed.bytes)
      return {
        fault: `the ${what} ${name} says ${named.name}, the listed unit ${meter.listedUnit} (${deviation(named.bytes, listed.bytes)})`,
      };
    if (named.per !== listed.per) return { fault: `the ${what} ${name} and the listed unit ${meter.listedUnit} differ in time` };
  }
  return null;
}
