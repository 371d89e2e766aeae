import { compareDecimals, digitsAt, parseDecimal, sumDecimals } from '#platform';
import { mayBeUnsure } from './late-outcome.js';

/** A receipt of ours (or a shadow record), an hour of one purchase. */
export interface OurUsage {
  subscriptionId: string;
  dimension: string;
  hour: Date;
  quantity: string;
  settledAt: Date;
  shadow: boolean;
}
/** An item of ours that may be in the report, and has no receipt; `lost`: no answer came, and its deadline is `hardAt`. */
export interface OurUnsure {
  itemId: string;
  subscriptionId: string;
  dimension: string;
  hour: Date;
  quantity: string;
  hardAt: Date;
  lost: boolean;
}
/** A line of a report. An empty name: the report does not say whose usage it is. */
export interface TheirUsage {
  periodStart: Date;
  periodEnd: Date;
  name: string;
  dimension: string;
  quantity: string;
}
export interface ReportLine {
  periodStart: Date;
  periodEnd: Date;
  /** The report's names of what is compared, joined; empty where it names none. */
  name: string;
  subscriptionIds: string[];
  dimension: string;
  ours: string;
  theirs: string;
  ourCount: number;
  theirCount: number;
  /** Several purchases that the report cannot tell apart. */
  bySum: boolean;
  shadow: boolean;
  unsure: OurUnsure[];
  /** The report can hold all of the line. */
  whole: boolean;
  verdict: 'equal' | 'not_yet_visible' | 'missing_there' | 'missing_here' | 'quantity' | 'foreign';
}
export interface ReportComparison {
  ours: readonly OurUsage[];
  /** The lost ones first. */
  unsure: readonly OurUnsure[];
  theirs: readonly TheirUsage[];
  /** The periods compared, whole; with the instant at which their report was made, and from which it can hold all of the period. */
  periods: readonly { start: Date; end: Date; asOf: Date; wholeFrom: Date }[];
  /** Which purchases of ours a name of the report stands for. */
  named: ReadonlyMap<string, readonly string[]>;
  /** How the report would call a purchase that it does not name. */
  nameOf: ReadonlyMap<string, string | null>;
  roundedTo: number | null;
}
/** A receipt of the last hours before the report was made may not be in it yet. */
const RECEIPT_LAG_MS = 86_400_000;

/**
 * Ours against a report at the report's own grain: period × what it names × dimension. Purchases that it cannot tell apart, because a
 * name stands for several or because usage is named by nobody, are compared by their sum. A name that is nobody's here is left alone.
 */
export function compareReport(c: ReportComparison): ReportLine[] {
  const groups = groupsOf(c);
  const lines = new Map<string, ReportLine & { latest: Date | null }>();
  const unnamed = new Set(c.theirs.filter((t) => t.name === '').map((t) => `${+t.periodStart}|${t.dimension}`));
  const isUnnamed = (start: Date, dimension: string, group: Group): boolean => unnamed.has(`${+start}|${dimension}`) && !group.foreign;
  const keyOf = (start: Date, dimension: string, group: Group): string =>
    `${+start}|${dimension}|${isUnnamed(start, dimension, group) ? '' : group.name}`;
  const at = (start: Date, end: Date, dimension: string, group: Group): ReportLine & { latest: Date | null } => {
    const all = isUnnamed(start, dimension, group);
    const key = keyOf(start, dimension, group);
    const line = lines.get(key) ?? {
      periodStart: start,
      periodEnd: end,
      name: all ? '' : group.name,
      subscriptionIds: [],
      dimension,
      ours: '0',
      theirs: '0',
      ourCount: 0,
      theirCount: 0,
      bySum: false,
      shadow: false,
      unsure: [],
      whole: false,
      verdict: group.foreign ? 'foreign' : 'equal',
      latest: null,
    };
    line.subscriptionIds = [...new Set([...line.subscriptionIds, ...group.subscriptionIds])].sort();
    line.bySum = all || line.subscriptionIds.length > 1;
    lines.set(key, line);
    return line;
  };
  for (const t of c.theirs) {
    const line = at(t.periodStart, t.periodEnd, t.dimension, groups.ofName(t.name));
    line.theirs = sumDecimals([line.theirs, t.quantity]);
    line.theirCount += 1;
  }
  for (const o of c.ours) {
    const period = c.periods.find((p) => p.start <= o.hour && o.hour < p.end);
    if (!period) continue;
    const line = at(period.start, period.end, o.dimension, groups.ofPurchase(o.subscriptionId));
    line.ours = sumDecimals([line.ours, o.quantity]);
    line.ourCount += 1;
    line.shadow ||= o.shadow;
    if (!line.latest || o.settledAt > line.latest) line.latest = o.settledAt;
  }
  for (const u of c.unsure) {
    const period = c.periods.find((p) => p.start <= u.hour && u.hour < p.end);
    const group = groups.ofPurchase(u.subscriptionId);
    // Lost ones are asked after; what else is unsure only makes its line unclear.
    if (period && (u.lost || lines.has(keyOf(period.start, u.dimension, group))))
      at(period.start, period.end, u.dimension, group).unsure.push(u);
  }
  return [...lines.values()]
    .map(({ latest, ...line }) => {
      const whole = isWhole({ ...line, latest }, c);
      return { ...line, whole, verdict: judge({ ...line, whole, latest }, c) };
    })
    .sort((a, b) => +a.periodStart - +b.periodStart || (a.name < b.name ? -1 : a.name > b.name ? 1 : a.dimension < b.dimension ? -1 : 1));
}

function isWhole(line: ReportLine & { latest: Date | null }, c: ReportComparison): boolean {
  const period = c.periods.find((p) => +p.start === +line.periodStart)!;
  const told = (at: Date): boolean => +at + RECEIPT_LAG_MS <= +period.asOf;
  return (
    period.wholeFrom <= period.asOf && (line.latest === null || told(line.latest)) && line.unsure.every((u) => !u.lost || told(u.hardAt))
  );
}

function judge(line: ReportLine & { latest: Date | null }, c: ReportComparison): ReportLine['verdict'] {
  if (line.verdict === 'foreign') return 'foreign';
  if (sameWithin(line.ours, line.theirs, c.roundedTo === null ? null : { decimals: c.roundedTo, rows: line.theirCount })) return 'equal';
  const period = c.periods.find((p) => +p.start === +line.periodStart);
  const over = compareDecimals(line.theirs, line.ours) > 0;
  // A report shows ours later, never more than it has: only a shortfall can be a matter of time.
  if (!over && period && (period.wholeFrom > period.asOf || (line.latest !== null && +line.latest + RECEIPT_LAG_MS > +period.asOf)))
    return 'not_yet_visible';
  // Unless it is ours whose answer was lost: what it was is told once the period is whole.
  if (!line.whole && mayBeUnsure(line)) return 'not_yet_visible';
  if (line.ourCount === 0) return 'missing_here';
  return compareDecimals(line.theirs, '0') === 0 ? 'missing_there' : 'quantity';
}

/** Equal, or apart by no more than half a unit of the last place for each row that the report has rounded. */
export function sameWithin(a: string, b: string, rounded: { decimals: number; rows: number } | null): boolean {
  if (!rounded) return compareDecimals(a, b) === 0;
  const [x, y] = [parseDecimal(a), parseDecimal(b)];
  const scale = Math.max(x.scale, y.scale, rounded.decimals + 1);
  const apart = digitsAt(x, scale) - digitsAt(y, scale);
  const allowed = 5n * 10n ** BigInt(scale - rounded.decimals - 1) * BigInt(rounded.rows);
  return (apart < 0n ? -apart : apart) <= allowed;
}

interface Group {
  name: string;
  subscriptionIds: string[];
  foreign: boolean;
}
/** Names and purchases that hang together: an agreement's renewals are names of one purchase, an account has several purchases. */
function groupsOf(c: ReportComparison): { ofName: (name: string) => Group; ofPurchase: (id: string) => Group } {
  const byName = new Map<string, Group & { names: Set<string> }>();
  const byPurchase = new Map<string, Group & { names: Set<string> }>();
  for (const [name, ids] of [...c.named].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const joined = [...new Set(ids.flatMap((id) => byPurchase.get(id) ?? []))];
    const group = { names: new Set([name]), name: '', subscriptionIds: [...ids], foreign: ids.length === 0 };
    for (const other of joined) {
      for (const n of other.names) group.names.add(n);
      group.subscriptionIds.push(...other.subscriptionIds);
    }
    group.subscriptionIds = [...new Set(group.subscriptionIds)].sort();
    group.name = [...group.names].sort().join(' + ');
    for (const n of group.names) byName.set(n, group);
    for (const id of group.subscriptionIds) byPurchase.set(id, group);
  }
  return {
    ofName: (name) =>
      name === '' ? { name, subscriptionIds: [], foreign: false } : (byName.get(name) ?? { name, subscriptionIds: [], foreign: true }),
    ofPurchase: (id) => byPurchase.get(id) ?? { name: c.nameOf.get(id) ?? id, subscriptionIds: [id], foreign: false },
  };
}
