/** Exact numbers as decimal text: quantities, prices and money are compared and added here, never through a float (law 6). */

/** The exact fraction `digits / 10^scale`. */
export interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

/** Text of ours, for example `12`, `0.187500`, `-3`. */
const PLAIN = /^(-?)(\d+)(?:\.(\d+))?$/;
/** A number of foreign JSON, which may be written `1.5e3`. */
const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/;

function read(text: string, form: RegExp): Decimal {
  const match = form.exec(text.trim());
  if (!match) throw new RangeError(`not a decimal number: ${text.slice(0, 60)}`);
  const fraction = match[3] ?? '';
  const scale = fraction.length - Number(match[4] ?? '0');
  const digits = BigInt(`${match[1]}${match[2]}${fraction}`);
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}
/** A number that somebody else wrote: an exponent is fine. */
export const parseForeign = (text: string): Decimal => read(text, NUMBER);

/** Text without an exponent; `scale` is the number of decimals as they are written. */
export const parseDecimal = (text: string): Decimal => read(text, PLAIN);

/** Whether it can be compared and added here; an exponent is fine. */
export const isDecimal = (text: string): boolean => NUMBER.test(text.trim());

/** Its digits at a scale that is not smaller than its own. */
export const digitsAt = (d: Decimal, scale: number): bigint => d.digits * 10n ** BigInt(scale - d.scale);

/** Has the decimals of the one that has more. */
export function addDecimals(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  return { digits: digitsAt(a, scale) + digitsAt(b, scale), scale };
}

/** With all its decimals: 150 of scale 2 is `1.50`. */
export function decimalText({ digits, scale }: Decimal): string {
  if (scale === 0) return digits.toString();
  const padded = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, '0');
  return `${digits < 0n ? '-' : ''}${padded.slice(0, -scale)}.${padded.slice(-scale)}`;
}

/** Without trailing zeros: 150 of scale 2 is `1.5`. */
export function shortText(d: Decimal): string {
  const text = decimalText(d);
  return d.scale === 0 ? text : text.replace(/\.?0+$/, '');
}

/** Less than 0, 0 or more than 0; by value, so that `5`, `5.0` and `0.5e1` are equal. */
export function compareDecimals(a: string, b: string): number {
  const [x, y] = [parseForeign(a), parseForeign(b)];
  const { digits } = addDecimals(x, { digits: -y.digits, scale: y.scale });
  return digits < 0n ? -1 : digits > 0n ? 1 : 0;
}

export const equalDecimals = (a: string, b: string): boolean => compareDecimals(a, b) === 0;

/** Without trailing zeros; `0` of nothing. */
export const sumDecimals = (texts: readonly string[]): string =>
  shortText(texts.map(parseForeign).reduce(addDecimals, { digits: 0n, scale: 0 }));
