import { parseDecimal, shortText, sumDecimals } from '#platform';

/** Which comma is which in a file: a decimal point (1,234.50) or a decimal comma (1.234,50). */
export type DecimalMark = 'point' | 'comma';

const POINT = /\.\d{1,2}$|\.\d{4,}$|,\d{3}\./;
const COMMA = /,\d{1,2}$|,\d{4,}$|\.\d{3},/;

/** What the numbers of a file say themselves; `unclear` where they contradict each other or all could be either. */
export function decimalMarkOf(cells: Iterable<string>): DecimalMark | 'unclear' {
  let [point, comma, either] = [false, false, false];
  for (const cell of cells) {
    const text = bare(cell);
    if (POINT.test(text)) point = true;
    else if (COMMA.test(text)) comma = true;
    else if (/[.,]/.test(text)) either = true;
  }
  if (point && comma) return 'unclear';
  if (point || comma) return point ? 'point' : 'comma';
  return either ? 'unclear' : 'point';
}

/** An amount as people write it, as exact decimal text; null where it is none. Brackets and a trailing minus are negative. */
export function moneyText(cell: string, mark: DecimalMark): string | null {
  let text = bare(cell);
  let negative = false;
  const bracketed = /^\((.*)\)$/.exec(text);
  if (bracketed) [negative, text] = [true, bracketed[1]!];
  if (/^[-\u2212]|[-\u2212]$/.test(text)) [negative, text] = [!negative, text.replace(/^[-\u2212]|[-\u2212]$/, '')];
  const [group, point] = mark === 'point' ? [',', '.'] : ['.', ','];
  const parts = text.split(point);
  if (parts.length > 2) return null;
  const groups = parts[0]!.split(group);
  const wholeOk =
    groups.length === 1 ? /^\d{1,24}$/.test(groups[0]!) : /^\d{1,3}$/.test(groups[0]!) && groups.slice(1).every((g) => /^\d{3}$/.test(g));
  if (!wholeOk || (parts[1] !== undefined && !/^\d{1,18}$/.test(parts[1]))) return null;
  return plain(`${negative ? '-' : ''}${groups.join('')}${parts[1] === undefined ? '' : `.${parts[1]}`}`);
}

/** Without blanks, currency signs and codes around it. */
const bare = (cell: string): string =>
  cell
    .replace(/[\s\u00a0\u202f']/g, '')
    .replace(/^(\(?[-\u2212]?)[\p{Sc}A-Z]{1,3}/u, '$1')
    .replace(/[\p{Sc}A-Z]{1,3}([-\u2212)]?)$/u, '$1');

const plain = (text: string): string => shortText(parseDecimal(text));

export const minus = (text: string): string => (text.startsWith('-') ? text.slice(1) : plain(`-${text}`));
export const isZero = (text: string): boolean => parseDecimal(text).digits === 0n;
const signOf = (text: string): number => Number(parseDecimal(text).digits > 0n) - Number(parseDecimal(text).digits < 0n);

export interface WantedAllocation {
  month: string;
  externalId: string;
  dimension: string | null;
  invoice: string | null;
  amount: string;
}
export type Allocation = (WantedAllocation & { kind: 'purchase' }) | { kind: 'unallocated'; amount: string };

/**
 * A gross amount over what it was for: parts of one target are one, and what is left has a row of its own. The rows always add
 * up to the gross. Null where more is given away than there is.
 */
export function allocate(gross: string, wanted: readonly WantedAllocation[]): Allocation[] | null {
  const byTarget = new Map<string, WantedAllocation>();
  for (const w of wanted) {
    const key = JSON.stringify([w.month, w.externalId, w.dimension, w.invoice]);
    const there = byTarget.get(key);
    byTarget.set(key, there ? { ...there, amount: sumDecimals([there.amount, w.amount]) } : { ...w });
  }
  const rows = [...byTarget.values()].filter((w) => !isZero(w.amount));
  const rest = sumDecimals([gross, ...rows.map((r) => minus(r.amount))]);
  if (signOf(rest) !== 0 && signOf(gross) !== 0 && signOf(rest) !== signOf(gross)) return null;
  return [
    ...rows.map((r) => ({ kind: 'purchase' as const, ...r })),
    // Said also where nothing is left and nothing was allocated: a payout of 0 has a row, too.
    ...(isZero(rest) && rows.length > 0 ? [] : [{ kind: 'unallocated' as const, amount: rest }]),
  ];
}

export interface RemittanceLine {
  line: number;
  reference: string;
  month: string;
  externalId: string | null;
  dimension: string | null;
  invoice: string | null;
  currency: string;
  payoutCurrency: string;
  gross: string;
  fee: string;
  tax: string;
  net: string;
  fx: string | null;
  payout: string;
  raw: Record<string, string>;
}
export interface RemittanceDraft {
  reference: string;
  currency: string;
  payoutCurrency: string;
  gross: string;
  fee: string;
  tax: string;
  net: string;
  fx: string | null;
  payout: string;
  /** gross − fee − tax − net: what the file does not explain, by name and never hidden. */
  unexplained: string;
  lines: RemittanceLine[];
}

/** Fees and taxes are deductions; some files write them as negative numbers. Decided for a whole file, by what adds up. */
export function deductionsAsPositive(lines: RemittanceLine[]): { lines: RemittanceLine[]; flipped: boolean } {
  const off = (l: RemittanceLine, sign: (t: string) => string): boolean =>
    !isZero(sumDecimals([l.gross, sign(l.fee), sign(l.tax), minus(l.net)]));
  const wrong = (sign: (t: string) => string): number => lines.filter((l) => off(l, sign)).length;
  const flipped = lines.some((l) => signOf(l.fee) < 0 || signOf(l.tax) < 0) && wrong((t) => t) < wrong(minus);
  return { flipped, lines: flipped ? lines.map((l) => ({ ...l, fee: minus(l.fee), tax: minus(l.tax) })) : lines };
}

/** Lines of one payout together; a payout has one currency. */
export function byReference(lines: RemittanceLine[]): { drafts: RemittanceDraft[]; faults: { line: number; message: string }[] } {
  const groups = new Map<string, RemittanceLine[]>();
  for (const l of lines) groups.set(l.reference, [...(groups.get(l.reference) ?? []), l]);
  const faults: { line: number; message: string }[] = [];
  const drafts = [...groups].map(([reference, of]): RemittanceDraft => {
    const [first] = of;
    for (const l of of)
      if (l.currency !== first!.currency || l.payoutCurrency !== first!.payoutCurrency || l.fx !== first!.fx)
        faults.push({ line: l.line, message: `payout ${reference} has another currency or rate in line ${first!.line}` });
    const sum = (f: (l: RemittanceLine) => string): string => sumDecimals(of.map(f));
    const [gross, fee, tax, net] = [sum((l) => l.gross), sum((l) => l.fee), sum((l) => l.tax), sum((l) => l.net)];
    return {
      reference,
      currency: first!.currency,
      payoutCurrency: first!.payoutCurrency,
      gross,
      fee,
      tax,
      net,
      fx: first!.fx,
      payout: sum((l) => l.payout),
      unexplained: sumDecimals([gross, minus(fee), minus(tax), minus(net)]),
      lines: of,
    };
  });
  return { drafts, faults };
}
