import { isUuid } from '#platform';
import type { SampleKind } from '#entitlements';
import { LARGEST_SAMPLE } from './bill-segment.js';
import type { SamplePart } from './cost-split.js';
import { readSplit } from './sample-split.js';
import { parseInstant, US_PER_MINUTE } from './units.js';

export const SAMPLE_TYPE = 'berth.sample.v1';
export const WATERMARK_TYPE = 'berth.watermark.v1';
export const ENGINE_SOURCE = '/berth/engine';

export interface SampleEvent {
  type: 'sample';
  id: string;
  source: string;
  at: bigint;
  placementId: string;
  sequence: bigint;
  metric: string;
  kind: SampleKind;
  value: bigint;
  epoch: string;
  /** Parts of the value by labels, where the source tells them. */
  split?: SamplePart[];
}
/** Every sample of `source` with a time up to and including `through` has been posted. */
export interface WatermarkEvent {
  type: 'watermark';
  id: string;
  source: string;
  through: bigint;
  sequence: bigint;
}

export type UsageRejection =
  | 'usage.invalid_event'
  | 'usage.negative_quantity'
  | 'usage.absurd_quantity'
  | 'usage.wrong_kind'
  | 'usage.foreign_placement'
  | 'usage.unknown_placement'
  | 'usage.foreign_source'
  | 'usage.duplicate_uplink'
  | 'usage.time_in_future'
  | 'usage.too_old';
export interface Rejection {
  code: UsageRejection;
  detail: string;
}

export const FUTURE_LIMIT = 5n * US_PER_MINUTE;
export const AGE_LIMIT = 35n * 24n * 60n * US_PER_MINUTE;

export type ParsedEvent = { ok: true; event: SampleEvent | WatermarkEvent } | ({ ok: false; id: string; numbered?: Numbered } & Rejection);

/** Which event of its source it is; its source counts 1, 2, 3 … */
export interface Numbered {
  source: string;
  number: bigint;
}

/** Text that Postgres can hold and a person can read: no control characters, no lone surrogates, bounded. */
const plain = (v: unknown, max: number): v is string =>
  typeof v === 'string' && v.length > 0 && v.length <= max && (/^[ -~]*$/.test(v) || !/[\p{Cc}\p{Cs}]/u.test(v));

/** CloudEvents 1.0 in structured form. Fields we do not know are let through and change nothing (law 11). */
export function parseUsageEvent(raw: unknown): ParsedEvent {
  const e = object(raw);
  const id = e && plain(e['id'], 256) ? e['id'] : '';
  const bad = (detail: string, code: UsageRejection = 'usage.invalid_event'): ParsedEvent => ({
    ok: false,
    id,
    code,
    detail,
    ...numberedOf(e),
  });
  if (!e) return bad('an event is a JSON object');
  if (e['specversion'] !== '1.0') return bad('specversion must be "1.0"');
  if (!id) return bad('id must be text of 1 to 256 printable characters');
  const source = e['source'];
  if (!plain(source, 256)) return bad('source must be text of 1 to 256 printable characters');
  const data = object(e['data']);
  if (!data) return bad('data must be a JSON object');
  if (e['type'] === WATERMARK_TYPE) {
    const through = instant(data['through']);
    const sequence = whole(data['sequence'] ?? e['sequence']);
    if (through === undefined) return bad('data.through must be an RFC 3339 instant');
    if (sequence === undefined) return bad('data.sequence must be a whole number');
    return { ok: true, event: { type: 'watermark', id, source, through, sequence } };
  }
  if (e['type'] !== SAMPLE_TYPE) return bad(`type must be ${SAMPLE_TYPE} or ${WATERMARK_TYPE}`);
  const at = instant(e['time']);
  if (at === undefined) return bad('time must be an RFC 3339 instant');
  const subject = e['subject'];
  const placementId = typeof subject !== 'string' ? '' : subject.startsWith('pla_') ? subject.slice(4) : subject;
  if (!isUuid(placementId)) return bad('subject must be a placement id');
  const sequence = whole(e['sequence'] ?? data['sequence'] ?? 0);
  if (sequence === undefined) return bad('sequence must be a whole number');
  const { metric, kind, value } = data;
  if (typeof metric !== 'string' || !/^[a-z][a-z0-9_]{0,62}$/.test(metric)) return bad('data.metric must be a lower-case name');
  if (kind !== 'gauge' && kind !== 'counter' && kind !== 'delta') return bad('data.kind must be "gauge", "counter" or "delta"');
  const epoch = data['epoch'] === undefined ? '' : typeof data['epoch'] === 'number' ? String(data['epoch']) : data['epoch'];
  if (epoch !== '' && !plain(epoch, 128)) return bad('data.epoch must be text');
  if (typeof value !== 'string' || !/^-?\d{1,60}$/.test(value)) return bad('data.value must be a whole number as decimal text');
  const amount = BigInt(value);
  if (amount < 0n) return bad('data.value is below 0', 'usage.negative_quantity');
  if (amount > LARGEST_SAMPLE)
    return bad(`data.value is above ${LARGEST_SAMPLE}, more than any placement can hold or carry`, 'usage.absurd_quantity');
  const split = readSplit(data['split'], amount);
  if (typeof split === 'string') return bad(split);
  const event: SampleEvent = { type: 'sample', id, source, at, placementId, sequence, metric, kind, value: amount, epoch };
  return { ok: true, event: split ? { ...event, split } : event };
}

/** As far as it can be read: what is refused is answered too, and a watermark behind it need not wait for it. */
function numberedOf(e: Record<string, unknown> | null): { numbered?: Numbered } {
  if (!e || !plain(e['source'], 256)) return {};
  const number = whole(e['sequence'] ?? object(e['data'])?.['sequence']);
  return number ? { numbered: { source: e['source'], number } } : {};
}

const object = (v: unknown): Record<string, unknown> | null =>
  v !== null && typeof v === 'object' && !Array.isArray(v) ? (v as Record<string, unknown>) : null;
const instant = (v: unknown): bigint | undefined => (typeof v === 'string' && v.length <= 40 ? parseInstant(v) : undefined);
const whole = (v: unknown): bigint | undefined => {
  if (typeof v === 'number') return Number.isSafeInteger(v) && v >= 0 ? BigInt(v) : undefined;
  return typeof v === 'string' && /^\d{1,38}$/.test(v) ? BigInt(v) : undefined;
};

/** Time rules, in business time. Never clamped: a wrong clock is told (money.md "Skew"). */
export function refusedTime(at: bigint, now: bigint): Rejection | null {
  if (at - now > FUTURE_LIMIT) return { code: 'usage.time_in_future', detail: 'the event lies more than 5 minutes ahead of our time' };
  if (now - at > AGE_LIMIT) return { code: 'usage.too_old', detail: 'the event is more than 35 days old' };
  return null;
}
