// The judge: what the generator's log says must be billed, against what the marketplaces say they bill. Pure, in integers, and without
// a line of the product's arithmetic. An hour is half-open (11:00:00 is hour 11); what is billed of a month so far is the whole units
// in all that was used of it so far, so each hour bills the growth of that.
import { TERMS } from './terms.mjs';

const HOUR_MS = 3_600_000;
/** All quantities are compared in millionths of a listed unit, the finest that any listing takes. */
export const MILLION = 1_000_000n;

const keyOf = (marketplace, externalId, dimension, hourMs) => [marketplace, externalId, dimension, hourMs].join('|');
const hourOf = (ms) => Math.floor(ms / HOUR_MS) * HOUR_MS;
const max0 = (n) => (n > 0n ? n : 0n);

/** Decimal text as millionths; a digit finer than that is refused, for it could hide a difference. */
export function millionths(text) {
  const m = /^(\d+)(?:\.(\d+))?$/.exec(text);
  if (!m || /[1-9]/.test((m[2] ?? '').slice(6))) throw new Error(`${text} is no quantity in millionths`);
  return BigInt(m[1]) * MILLION + BigInt((m[2] ?? '').slice(0, 6).padEnd(6, '0'));
}

/** Base units used in each hour. The log's lines `{at, marketplace, externalId, metric, value}` are the readings, as they were taken. */
function usedByHour(readings, kind, untilMs) {
  const used = new Map();
  const add = (hourMs, amount) => used.set(hourMs, (used.get(hourMs) ?? 0n) + amount);
  const sorted = [...readings].sort((a, b) => a.atMs - b.atMs);
  sorted.forEach((one, i) => {
    if (kind === 'counter') {
      // What was counted since the reading before belongs to the hour of this one.
      if (one.atMs < untilMs) add(hourOf(one.atMs), one.value - (sorted[i - 1]?.value ?? 0n));
      return;
    }
    // What lies there holds until the next reading. Readings are on the hour, too, so no stretch of time crosses one.
    const nextMs = Math.min(sorted[i + 1]?.atMs ?? untilMs, untilMs);
    if (nextMs <= one.atMs) return;
    if (nextMs > hourOf(one.atMs) + HOUR_MS) throw new Error(`the log has no reading between ${one.atMs} and ${nextMs}`);
    add(hourOf(one.atMs), one.value * BigInt(nextMs - one.atMs) * 1_000n);
  });
  return used;
}

/** What must be billed for each purchase, dimension and hour of [fromMs, untilMs): key -> millionths of the listed unit. */
export function owed(log, { fromMs, untilMs }, terms = TERMS) {
  const series = new Map();
  for (const { at, marketplace, externalId, metric, value } of log) {
    const key = [marketplace, externalId, metric].join('|');
    if (!series.has(key)) series.set(key, { marketplace, externalId, metric, readings: [] });
    series.get(key).readings.push({ atMs: Date.parse(at), value: BigInt(value) });
  }
  const out = new Map();
  for (const { marketplace, externalId, metric, readings } of series.values()) {
    const { kind, dimension, perUnit, decimals, included } = terms[marketplace][metric];
    const scale = 10n ** BigInt(decimals);
    const used = usedByHour(readings, kind, untilMs);
    let total = 0n;
    let billed = 0n;
    for (let hourMs = fromMs; hourMs < untilMs; hourMs += HOUR_MS) {
      total += used.get(hourMs) ?? 0n;
      const quanta = (max0(total - included) * scale) / perUnit;
      out.set(keyOf(marketplace, externalId, dimension, hourMs), ((quanta - billed) * MILLION) / scale);
      billed = quanta;
    }
  }
  return out;
}

/** A finding names a loss when its kind is one by which a buyer's finance learns that something is not billed, or may not be. */
const NAMES_A_LOSS = /^(loss\.|unknown_outcome$|held_implausible$|usage_unbuilt$)/;

/**
 * `billed`: items of `/sandbox/billed`. `findings`: open ones, `{kind, externalId, dimension, hour, units}`. Answers, in millionths:
 * lost (owed and not billed), doubled (billed and not owed: another record, a larger one, one of nobody's), named (the part of the
 * lost that an open finding names) and silent (the rest of it), each with its places. `only`: of hours in this part of the time.
 */
export function judge({ log, billed, findings, fromMs, untilMs, only, terms = TERMS }) {
  const due = owed(log, { fromMs, untilMs }, terms);
  const theirs = new Map();
  for (const { marketplace, externalId, dimension, hour, quantity } of billed) {
    const hourMs = hourOf(Date.parse(hour));
    if (hourMs >= untilMs) continue; // of hours that are not judged yet
    const key = keyOf(marketplace, externalId, dimension, hourMs);
    theirs.set(key, (theirs.get(key) ?? 0n) + millionths(quantity));
  }
  const named = new Map();
  for (const { kind, externalId, dimension, hour, units } of findings) {
    if (!NAMES_A_LOSS.test(kind) || !externalId || !dimension || !hour || !units) continue;
    const part = `${externalId}|${dimension}|${hourOf(Date.parse(hour))}`;
    // Two findings about one amount name it once. The findings' nine decimals are cut, never rounded up to a name for more.
    const amount = millionths(units.replace(/(\.\d{6})\d+$/, '$1'));
    if (amount > (named.get(part)?.amount ?? 0n)) named.set(part, { amount, kind });
  }
  const result = { hours: 0, billedHours: 0, owed: 0n, billed: 0n, lost: [], doubled: [], silent: [], named: [] };
  for (const key of new Set([...due.keys(), ...theirs.keys()])) {
    const hourMs = Number(key.slice(key.lastIndexOf('|') + 1));
    if (only && (hourMs < only.fromMs || hourMs >= only.untilMs)) continue;
    const [want, got] = [due.get(key) ?? 0n, theirs.get(key) ?? 0n];
    if (want > 0n) result.hours += 1;
    if (got > 0n) result.billedHours += 1;
    result.owed += want;
    result.billed += got;
    if (got > want) result.doubled.push({ key, amount: got - want });
    if (got >= want) continue;
    const lost = want - got;
    result.lost.push({ key, amount: lost });
    const name = named.get(key.slice(key.indexOf('|') + 1));
    const covered = name ? (name.amount < lost ? name.amount : lost) : 0n;
    if (covered > 0n) result.named.push({ key, amount: covered, kind: name.kind });
    if (covered < lost) result.silent.push({ key, amount: lost - covered });
  }
  return result;
}

/** Nothing doubled, nothing silent: what is lost has its name in an open finding. */
export const holds = ({ doubled, silent }) => doubled.length === 0 && silent.length === 0;
/** Nothing is missing either. */
export const isEven = ({ doubled, lost }) => doubled.length === 0 && lost.length === 0;

/** Units by marketplace and dimension, owed and billed: never added up over units. */
export function byDimension({ log, billed, fromMs, untilMs, terms = TERMS }) {
  const rows = new Map();
  const add = (marketplace, dimension, field, amount) => {
    const key = `${marketplace}|${dimension}`;
    if (!rows.has(key)) rows.set(key, { marketplace, dimension, owed: 0n, billed: 0n });
    rows.get(key)[field] += amount;
  };
  for (const [key, amount] of owed(log, { fromMs, untilMs }, terms)) {
    const [marketplace, , dimension] = key.split('|');
    add(marketplace, dimension, 'owed', amount);
  }
  for (const b of billed) if (hourOf(Date.parse(b.hour)) < untilMs) add(b.marketplace, b.dimension, 'billed', millionths(b.quantity));
  return [...rows.values()].sort((a, b) => (a.marketplace + a.dimension < b.marketplace + b.dimension ? -1 : 1));
}

/** Millionths as decimal text without needless zeros. */
export function unitsText(amount) {
  const digits = amount.toString().padStart(7, '0');
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, '');
}
