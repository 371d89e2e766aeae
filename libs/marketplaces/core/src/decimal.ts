/** A decimal number as text, for example `12`, `0.187500`, `-3`, or a number of foreign JSON such as `1.5e3`. */
const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/;

interface Scaled {
  digits: bigint;
  scale: number;
}

function scaled(text: string): Scaled {
  const match = DECIMAL.exec(text.trim());
  if (!match) throw new RangeError(`not a decimal number: ${text.slice(0, 60)}`);
  const fraction = match[3] ?? '';
  const scale = fraction.length - Number(match[4] ?? '0');
  const digits = BigInt(`${match[1]}${match[2]}${fraction}`);
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

export const isDecimal = (text: string): boolean => DECIMAL.test(text.trim());

/** Less than 0, 0 or more than 0; exact, so that `5`, `5.0` and `0.5e1` are equal. */
export function compareDecimals(a: string, b: string): number {
  const x = scaled(a);
  const y = scaled(b);
  const scale = Math.max(x.scale, y.scale);
  const difference = x.digits * 10n ** BigInt(scale - x.scale) - y.digits * 10n ** BigInt(scale - y.scale);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

export const equalDecimals = (a: string, b: string): boolean => compareDecimals(a, b) === 0;

/** Exact sum without trailing zeros; `0` of nothing. */
export function sumDecimals(texts: readonly string[]): string {
  const parts = texts.map(scaled);
  const scale = parts.reduce((most, part) => Math.max(most, part.scale), 0);
  const total = parts.reduce((sum, part) => sum + part.digits * 10n ** BigInt(scale - part.scale), 0n);
  const padded = (total < 0n ? -total : total).toString().padStart(scale + 1, '0');
  const fraction = scale > 0 ? padded.slice(-scale).replace(/0+$/, '') : '';
  return `${total < 0n ? '-' : ''}${padded.slice(0, padded.length - scale)}${fraction ? `.${fraction}` : ''}`;
}
