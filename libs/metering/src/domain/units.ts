/** Exact arithmetic of metering: instants are UTC microseconds, quantities are integers in the meter's base unit (law 6). */
import { decimalText, parseDecimal } from '#platform';

export const US_PER_SECOND = 1_000_000n;
export const US_PER_MINUTE = 60n * US_PER_SECOND;
export const US_PER_HOUR = 60n * US_PER_MINUTE;

export const toUs = (at: Date): bigint => BigInt(at.getTime()) * 1_000n;
export const toUsOrNull = (at: Date | null): bigint | null => (at === null ? null : toUs(at));
/** Milliseconds are what a `Date` can hold; only instants that are whole milliseconds (hours, cuts) are turned back. */
export const fromUs = (us: bigint): Date => new Date(Number(us / 1_000n));

export const minOf = (a: bigint, b: bigint): bigint => (a < b ? a : b);
export const maxOf = (a: bigint, b: bigint): bigint => (a > b ? a : b);

export function floorDiv(a: bigint, b: bigint): bigint {
  const q = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? q - 1n : q;
}
export const ceilDiv = (a: bigint, b: bigint): bigint => -floorDiv(-a, b);

/** The hour an instant belongs to: half-open, 11:00:00.000000 is hour 11 (money.md "The hour"). */
export const hourOf = (us: bigint): bigint => floorDiv(us, US_PER_HOUR) * US_PER_HOUR;

const months = new Map<bigint, string>();

/** `2026-03`: usage is never re-dated into another calendar month (money.md "Month end"). */
export function monthOf(us: bigint): string {
  // A closing asks for the beginning and the end of its one hour, for each series.
  let month = months.get(us);
  if (month === undefined) {
    if (months.size >= 16) months.clear();
    months.set(us, (month = fromUs(us).toISOString().slice(0, 7)));
  }
  return month;
}

const INSTANT = /^(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/;
/** The usual form, whose time of day needs no parser of its own. */
const UTC_INSTANT = /^\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3])(?::[0-5]\d){2}(?:\.\d{1,9})?Z$/;
const MOST_DAYS = 1_000;

/** Milliseconds of midnight UTC by day: samples are of few days. */
const midnights = new Map<string, number>();

/** Undefined where there is no such day. */
function midnightOf(day: string): number | undefined {
  const known = midnights.get(day);
  if (known !== undefined) return known;
  const ms = Date.parse(`${day}T00:00:00Z`);
  // Date.parse rolls 31 February over; such text names no day.
  if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 10) !== day) return undefined;
  if (midnights.size >= MOST_DAYS) midnights.clear();
  midnights.set(day, ms);
  return ms;
}

/** The number that stands at these places. */
function digitsAt(text: string, from: number, to: number): number {
  let n = 0;
  for (let i = from; i < to; i++) n = n * 10 + text.charCodeAt(i) - 48;
  return n;
}

/** RFC 3339 text to microseconds; finer digits are cut off. Undefined where it is not an instant. */
export function parseInstant(text: string): bigint | undefined {
  if (UTC_INSTANT.test(text)) {
    const midnight = midnightOf(text.slice(0, 10));
    if (midnight === undefined) return undefined;
    const seconds = digitsAt(text, 11, 13) * 3_600 + digitsAt(text, 14, 16) * 60 + digitsAt(text, 17, 19);
    const end = Math.min(text.length - 1, 26);
    const micros = text.length > 21 ? digitsAt(text, 20, end) * 10 ** (26 - end) : 0;
    const ms = midnight + seconds * 1_000;
    // Beyond the year 2255 a double does not hold microseconds.
    return Math.abs(ms) < Number.MAX_SAFE_INTEGER / 1_001 ? BigInt(ms * 1_000 + micros) : BigInt(ms) * 1_000n + BigInt(micros);
  }
  const m = INSTANT.exec(text);
  if (!m) return undefined;
  const [, day, clock, fraction, zone] = m;
  const ms = Date.parse(`${day}T${clock}${zone!.toUpperCase()}`);
  if (Number.isNaN(ms) || midnightOf(day!) === undefined) return undefined;
  return BigInt(ms) * 1_000n + BigInt((fraction ?? '').padEnd(6, '0').slice(0, 6));
}

const padded = (n: number, width: number): string => `${n}`.padStart(width, '0');
const TWO = Array.from({ length: 60 }, (_, n) => padded(n, 2));
/** Of the last hour that was written: its first microsecond, and its text up to the minutes. */
let lastHour = Number.NaN;
let lastHourText = '';

/**
 * Microseconds as UTC text with six digits: the pinned canonical form, and exact for `timestamptz`. Written for every sample of
 * a closing, and these lie in one hour: its text is kept. Until the year 2255 instants are exact as numbers.
 */
export function instantText(us: bigint): string {
  const n = Number(us);
  if (!Number.isSafeInteger(n)) {
    const far = floorDiv(us, US_PER_SECOND);
    return `${new Date(Number(far) * 1_000).toISOString().slice(0, -5)}.${padded(Number(us - far * US_PER_SECOND), 6)}Z`;
  }
  let inHour = n - lastHour;
  if (!(inHour >= 0 && inHour < 3_600_000_000)) {
    const hour = Math.floor(n / 3_600_000_000);
    lastHourText = new Date(hour * 3_600_000).toISOString().slice(0, 14);
    lastHour = hour * 3_600_000_000;
    inHour = n - lastHour;
  }
  const minute = Math.floor(inHour / 60_000_000);
  const inMinute = inHour - minute * 60_000_000;
  const second = Math.floor(inMinute / 1_000_000);
  const fraction = inMinute - second * 1_000_000;
  return `${lastHourText}${TWO[minute]}:${TWO[second]}.${fraction === 0 ? '000000' : padded(fraction, 6)}Z`;
}

/** `quanta` of 10^-decimals as decimal text with exactly that many decimals. */
export const quantaText = (quanta: bigint, decimals: number): string => decimalText({ digits: quanta, scale: decimals });

/**
 * The listed unit of one meter. Its quantum (10^-decimals of the unit) need not be whole in base units (MiB in millionths is
 * not), so both directions are defined over *cumulative* quanta: rounding then never adds up.
 */
export class Unit {
  private readonly scale: bigint;

  constructor(
    private readonly basePerUnit: bigint,
    readonly decimals: number,
  ) {
    if (basePerUnit <= 0n) throw new Error('a unit holds at least one base unit');
    this.scale = 10n ** BigInt(decimals);
    if (this.scale > basePerUnit) throw new Error(`10^-${decimals} of a unit of ${basePerUnit} is finer than one base unit`);
  }

  /** Whole quanta in so many base units. */
  quanta(base: bigint): bigint {
    return floorDiv(base * this.scale, this.basePerUnit);
  }

  /** The fewest base units that hold so many quanta: `quanta(base(n)) === n`. */
  base(quanta: bigint): bigint {
    return ceilDiv(quanta * this.basePerUnit, this.scale);
  }

  /** A decimal quantity of listed units in base units, rounded down. */
  baseOf(decimal: string): bigint {
    const { digits, scale } = parseDecimal(decimal);
    return floorDiv(digits * this.basePerUnit, 10n ** BigInt(scale));
  }
}

/** An amount in listed units for people, cut at nine decimals; the exact base amount stands beside it as evidence. */
export function unitsText(amount: bigint, basePerUnit: bigint): string {
  const decimals = Math.min(9, basePerUnit.toString().length - 1);
  return quantaText(new Unit(basePerUnit, decimals).quanta(amount), decimals);
}

/** A quantity with its unit; a unit that begins with a number ("1,000 calls") is multiplied, not run together with it. */
export const ofUnit = (quantity: string, unit: string): string => `${quantity} ${/^\d/.test(unit) ? '× ' : ''}${unit}`;
