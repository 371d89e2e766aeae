/** A JSON number with the digits the sender wrote: 0.187500 stays 0.187500. */
export class ExactNumber {
  constructor(readonly text: string) {}

  get value(): number {
    return Number(this.text);
  }

  toJSON(): string {
    return `${MARK}${this.text}${MARK}`;
  }
}

/** A private-use character pair; it cannot be a number's text and a string holding it is refused below. */
const MARK = '\uE0F7\uE0F8';
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARKED_STRING = new RegExp(`"${MARK}(-?\\d+(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)${MARK}"`, 'g');

export function parseExact(text: string): unknown {
  JSON.parse(text);
  if (text.includes(MARK)) throw new SyntaxError('reserved characters in JSON text');
  const marked = text.replace(TOKEN, (token) => (token.startsWith('"') ? token : `"${MARK}${token}${MARK}"`));
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARK) ? new ExactNumber(value.slice(MARK.length, -MARK.length)) : value,
  );
}

/** Writes ExactNumber with its own digits as a JSON number. */
export function stringifyExact(value: unknown): string {
  return (JSON.stringify(value) ?? '').replace(MARKED_STRING, '$1');
}

interface Decimal {
  digits: bigint;
  scale: number;
}

function decimal(text: string): Decimal {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (!match) throw new RangeError(`not a decimal number: ${text}`);
  const fraction = match[3] ?? '';
  const exponent = Number(match[4] ?? '0');
  const digits = BigInt(`${match[1]}${match[2]}${fraction}`);
  const scale = fraction.length - exponent;
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

/** Exact sum of decimal texts, without trailing zeros. */
export function sumDecimals(texts: readonly string[]): string {
  const parts = texts.map(decimal);
  const scale = parts.reduce((most, part) => Math.max(most, part.scale), 0);
  const total = parts.reduce((sum, part) => sum + part.digits * 10n ** BigInt(scale - part.scale), 0n);
  const sign = total < 0n ? '-' : '';
  const padded = (total < 0n ? -total : total).toString().padStart(scale + 1, '0');
  const whole = padded.slice(0, padded.length - scale);
  const fraction = scale ? padded.slice(-scale).replace(/0+$/, '') : '';
  return `${sign}${whole}${fraction ? `.${fraction}` : ''}`;
}
