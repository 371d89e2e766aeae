import type { Marketplace } from '#marketplaces/core';

/** What a line of a usage report can say. Of the three names one is used, the first that is mapped: it is the report's grain. */
export const USAGE_REPORT_FIELDS = [
  'day',
  'month',
  'purchase',
  'agreement',
  'account',
  'dimension',
  'quantity',
  'key',
  'version',
  'deleted',
] as const;
export type UsageReportField = (typeof USAGE_REPORT_FIELDS)[number];
export const REPORT_NAMES = ['purchase', 'agreement', 'account'] as const;
export type ReportName = (typeof REPORT_NAMES)[number];
export type ReportGrain = 'day' | 'month';
export const REPORT_ZONES = ['UTC', 'America/Los_Angeles'] as const;
export type ReportZone = (typeof REPORT_ZONES)[number];
/** 03/04/2026 is a day in March or in April. */
export type DateOrder = 'month_first' | 'day_first';

/**
 * Column names of the files as the marketplaces document them, without case, blanks and underscores: AWS's daily usage feed and usage
 * dataset, Partner Center's usage export, Google's charges and usage. A proposal only: a person sees it with the first rows.
 */
const COLUMNS: Record<UsageReportField, readonly string[]> = {
  day: ['usagedate', 'usageday', 'date', 'day'],
  month: ['usagemonth', 'monthstartdate', 'month', 'invoicemonth', 'reportmonth', 'billingmonth'],
  purchase: ['assetid', 'saassubscriptionid', 'entitlementid', 'entitlement', 'licensearn', 'licencearn', 'licenseid'],
  agreement: ['agreementid'],
  account: ['enduserawsaccountid', 'customerawsaccountid', 'accountid', 'customeraccountid', 'procurementaccountid'],
  dimension: ['dimensionkey', 'dimension', 'meterdimension', 'metricname', 'metric', 'metricid', 'skuid', 'sku'],
  quantity: ['usagequantity', 'quantity', 'meteredusage', 'rawusage', 'usageamount', 'usage', 'usageunitsconsumed'],
  key: ['usagefeedid', 'internalusagelineitemid'],
  version: ['validfrom', 'rowmodifieddate'],
  deleted: ['deletedate', 'rowtype'],
};
const bare = (column: string): string => column.toLowerCase().replace(/[^a-z0-9]/g, '');

/** The column that most likely is each field. */
export function proposeMapping(columns: readonly string[]): Partial<Record<UsageReportField, string>> {
  const found: Partial<Record<UsageReportField, string>> = {};
  for (const field of USAGE_REPORT_FIELDS)
    for (const name of COLUMNS[field]) {
      const column = columns.find((c) => bare(c) === name);
      if (column !== undefined) {
        found[field] = column;
        break;
      }
    }
  return found;
}

/** Days and months of Google's reports are those of its billing, in Pacific time; the others' are UTC. */
export const zoneOf = (marketplace: Marketplace): ReportZone => (marketplace === 'gcp' ? 'America/Los_Angeles' : 'UTC');

const SLASHED = /^(\d{1,2})[/.](\d{1,2})[/.](\d{4})\b/;
/** What the dates of a file say themselves; `unclear` where all could be either. Null where none is written so. */
export function dateOrderOf(cells: Iterable<string>): DateOrder | 'unclear' | null {
  let [slashed, dayFirst, monthFirst] = [false, false, false];
  for (const cell of cells) {
    const m = SLASHED.exec(cell.trim());
    if (!m) continue;
    slashed = true;
    dayFirst ||= Number(m[1]) > 12;
    monthFirst ||= Number(m[2]) > 12;
  }
  if (!slashed) return null;
  return dayFirst === monthFirst ? 'unclear' : dayFirst ? 'day_first' : 'month_first';
}

/** Year, month and day of a cell; day 1 for a month. Null where it is none. */
export function dateOf(cell: string, grain: ReportGrain, order: DateOrder | null): [number, number, number] | null {
  const text = cell.trim();
  const iso = /^(\d{4})-?(\d{2})(?:-?(\d{2}))?(?:[T ].*)?$/.exec(text);
  const slashed = SLASHED.exec(text);
  const [y, m, d] = iso
    ? [iso[1], iso[2], iso[3]]
    : slashed && order
      ? [slashed[3], ...(order === 'month_first' ? [slashed[1], slashed[2]] : [slashed[2], slashed[1]])]
      : [];
  if (y === undefined || m === undefined || (grain === 'day' && d === undefined)) return null;
  const parts: [number, number, number] = [Number(y), Number(m), grain === 'day' ? Number(d) : 1];
  const back = new Date(Date.UTC(parts[0], parts[1] - 1, parts[2]));
  return back.getUTCMonth() + 1 === parts[1] && back.getUTCDate() === parts[2] ? parts : null;
}

/** Midnight of a day (month 1 to 12; overflowing parts roll over) in a zone, as an instant. */
export function midnight(zone: ReportZone, year: number, month: number, day: number): Date {
  const utc = Date.UTC(year, month - 1, day);
  if (zone === 'UTC') return new Date(utc);
  const offsetAt = (at: number): number => {
    const p = Object.fromEntries(
      new Intl.DateTimeFormat('en-US', {
        timeZone: zone,
        hourCycle: 'h23',
        year: 'numeric',
        month: 'numeric',
        day: 'numeric',
        hour: 'numeric',
        minute: 'numeric',
        second: 'numeric',
      })
        .formatToParts(new Date(at))
        .map(({ type, value }) => [type, Number(value)]),
    );
    return Date.UTC(p['year']!, p['month']! - 1, p['day']!, p['hour']!, p['minute']!, p['second']!) - at;
  };
  // Clocks change at two at night: the offset at the guess is that of midnight or of some hours before it.
  const guess = utc - offsetAt(utc);
  return new Date(utc - offsetAt(guess));
}

export function periodOf(zone: ReportZone, grain: ReportGrain, [y, m, d]: readonly [number, number, number]): { start: Date; end: Date } {
  return grain === 'day'
    ? { start: midnight(zone, y, m, d), end: midnight(zone, y, m, d + 1) }
    : { start: midnight(zone, y, m, 1), end: midnight(zone, y, m + 1, 1) };
}

const DAY_MS = 86_400_000;
/** Usage is taken until a day after its hour, and shows within another (contracts azure §6, aws §5; the feed is made anew every 24 h). */
const DAILY_LAG_MS = 2 * DAY_MS;
const MONTHLY_LAG_MS = 3 * DAY_MS;
const GOOGLE_BUSINESS_DAYS = 10;

/** From when on a report can be expected to hold all of a period (money.md "What can be compared"). */
export function wholeFrom(marketplace: Marketplace, grain: ReportGrain, periodEnd: Date): Date {
  if (grain === 'day') return new Date(periodEnd.getTime() + DAILY_LAG_MS);
  if (marketplace !== 'gcp') return new Date(periodEnd.getTime() + MONTHLY_LAG_MS);
  let at = periodEnd.getTime();
  for (let days = 0; ; at += DAY_MS) {
    // Over when its tenth working day is.
    if (![0, 6].includes(new Date(at).getUTCDay())) days += 1;
    if (days === GOOGLE_BUSINESS_DAYS) return new Date(at + DAY_MS);
  }
}
