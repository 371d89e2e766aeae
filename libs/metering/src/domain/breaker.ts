/**
 * The circuit breaker of a gate (what of a marketplace has a limit and a health of its own). Pure; the row is Postgres's, so all
 * workers share it. Pauses are real time (architecture law 9); one that business time has passed is over too, so that a clock that
 * runs ahead in development does not carry a day's usage past its deadline while a minute passes here.
 */
export interface Breaker {
  state: 'closed' | 'open' | 'half_open';
  /** In a row, without an answer between them. */
  failures: number;
  pauseMs: number;
  /** The last failure, in both times. */
  failed: Instant | null;
  /** Real time until which somebody is probing. */
  probeUntil: Date | null;
  reason: string | null;
  /** Business time since which it is not closed. */
  since: Date | null;
}
export interface Instant {
  business: Date;
  real: Date;
}

export const CLOSED: Breaker = { state: 'closed', failures: 0, pauseMs: 0, failed: null, probeUntil: null, reason: null, since: null };

/** So many failures in a row are not the fault of one batch. */
export const TRIPS_AT = 3;
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 600_000;
/** Where the marketplace names a longer pause, that counts; a nonsense one does not keep us away for a day. */
const LONGEST_ASKED_MS = 3_600_000;
/** From so long before a hard deadline on, a pause is cut to the short one: the marketplace may be up again, and later is too late. */
export const FORCED_WITHIN_MS = 15 * 60_000;
const FORCED_PAUSE_MS = 15_000;

export type Admission = 'yes' | 'probe' | 'forced' | 'no';

/** May a batch go? `probe` and `forced` are for one batch only: the caller marks it with `probing`. */
export function admits(b: Breaker, now: Instant, earliestHardAt: Date | null): Admission {
  if (b.state === 'closed') return 'yes';
  if (b.state === 'half_open') return b.probeUntil !== null && b.probeUntil > now.real ? 'no' : 'probe';
  const waited = b.failed === null ? Infinity : Math.max(+now.real - +b.failed.real, +now.business - +b.failed.business);
  if (waited >= b.pauseMs) return 'probe';
  const isNear = earliestHardAt !== null && +earliestHardAt - +now.business <= FORCED_WITHIN_MS;
  return isNear && waited >= FORCED_PAUSE_MS ? 'forced' : 'no';
}

export const probing = (b: Breaker, now: Instant, leaseMs: number): Breaker => ({
  ...b,
  state: 'half_open',
  probeUntil: new Date(+now.real + leaseMs),
});

/** Nothing was said about the items: refused for our sake, throttled, broken or lost. */
export function failed(b: Breaker, now: Instant, reason: string, retryAfterMs: number | null): Breaker {
  const failures = b.failures + 1;
  const asked = Math.min(retryAfterMs ?? 0, LONGEST_ASKED_MS);
  const next: Breaker = { ...b, failures, failed: now, reason: reason.slice(0, 500), probeUntil: null };
  if (b.state === 'closed' && failures < TRIPS_AT) return next;
  const grown = b.state === 'closed' ? FIRST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, b.pauseMs * 2));
  // A batch that was sent before it opened says nothing new: the pause grows by probes only.
  const pauseMs = b.state === 'open' ? b.pauseMs : grown;
  return { ...next, state: 'open', pauseMs: Math.max(pauseMs, asked), since: b.since ?? now.business };
}

/** The marketplace spoke about items: it is there, whatever it said of them. */
export const answered = (): Breaker => CLOSED;

export interface Rate {
  perSecond: number;
  burst: number;
}

/**
 * A token bucket in real time: how many of `wanted` whole tokens may be taken, what is left in it then, and how long until there is
 * one for the next, where it had too few.
 */
export function take(
  bucket: { tokens: number; at: Date },
  rate: Rate,
  real: Date,
  wanted: number,
): { taken: number; tokens: number; waitMs: number } {
  const passed = Math.max(0, +real - +bucket.at) / 1_000;
  const full = Math.min(rate.burst, bucket.tokens + passed * rate.perSecond);
  const taken = Math.min(wanted, Math.floor(full));
  const tokens = full - taken;
  return { taken, tokens, waitMs: taken >= wanted ? 0 : Math.ceil(((1 - tokens) / rate.perSecond) * 1_000) };
}
