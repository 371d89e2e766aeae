/** Exact decimals: digits / 10^scale. Usage is never a float. */
export interface Decimal {
  digits: bigint;
  scale: number;
}

const FORM = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/;

export function decimal(text: string): Decimal {
  const m = FORM.exec(text.trim());
  if (!m) throw new Error(`"${text.slice(0, 60)}" is not a decimal number`);
  const exponent = Number(m[4] ?? '0');
  let digits = BigInt(`${m[1]}${m[2]}${m[3] ?? ''}`);
  let scale = (m[3] ?? '').length - exponent;
  if (scale < 0) {
    digits *= 10n ** BigInt(-scale);
    scale = 0;
  }
  return { digits, scale };
}

export const zero: Decimal = { digits: 0n, scale: 0 };

function aligned(a: Decimal, b: Decimal): [bigint, bigint, number] {
  const scale = Math.max(a.scale, b.scale);
  return [a.digits * 10n ** BigInt(scale - a.scale), b.digits * 10n ** BigInt(scale - b.scale), scale];
}

export function plus(a: Decimal, b: Decimal): Decimal {
  const [x, y, scale] = aligned(a, b);
  return { digits: x + y, scale };
}

export function minus(a: Decimal, b: Decimal): Decimal {
  return plus(a, { digits: -b.digits, scale: b.scale });
}

export function equals(a: Decimal, b: Decimal): boolean {
  const [x, y] = aligned(a, b);
  return x === y;
}

export const sum = (values: Iterable<Decimal>): Decimal => [...values].reduce(plus, zero);

export function show(a: Decimal): string {
  const sign = a.digits < 0n ? '-' : '';
  const all = (a.digits < 0n ? -a.digits : a.digits).toString().padStart(a.scale + 1, '0');
  const fraction = a.scale === 0 ? '' : all.slice(-a.scale).replace(/0+$/, '');
  return `${sign}${a.scale === 0 ? all : all.slice(0, -a.scale)}${fraction ? `.${fraction}` : ''}`;
}

/** Is `listed` units of `basePerUnit` exactly `base` base units? */
export function isExactly(listed: Decimal, basePerUnit: bigint, base: bigint): boolean {
  return listed.digits * basePerUnit === base * 10n ** BigInt(listed.scale);
}

/** Base units in listed units; `…` behind it says that more digits follow. */
export function inUnits(base: bigint, basePerUnit: bigint, decimals = 6): string {
  const negative = base < 0n;
  const scaled = (negative ? -base : base) * 10n ** BigInt(decimals);
  const text = show({ digits: negative ? -(scaled / basePerUnit) : scaled / basePerUnit, scale: decimals });
  return scaled % basePerUnit === 0n ? text : `${negative && !text.startsWith('-') ? '-' : ''}${text}…`;
}
