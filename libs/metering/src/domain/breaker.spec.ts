import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { withinAnySecond } from '#marketplaces/core';
import { admits, answered, CLOSED, failed, FORCED_WITHIN_MS, probing, take, TRIPS_AT, type Breaker, type Instant } from './breaker.js';

const T0 = Date.UTC(2026, 2, 10, 12);
const at = (realMs: number, businessMs = realMs): Instant => ({ real: new Date(T0 + realMs), business: new Date(T0 + businessMs) });
const far = new Date(T0 + 12 * 3_600_000);
const tripped = (): Breaker => Array.from({ length: TRIPS_AT }).reduce<Breaker>((b) => failed(b, at(0), 'down', null), CLOSED);

describe('a breaker', () => {
  it('opens after failures in a row and not after as many with an answer between them', () => {
    expect(tripped()).toMatchObject({ state: 'open', pauseMs: 5_000, since: new Date(T0) });
    const twice = failed(failed(CLOSED, at(0), 'down', null), at(0), 'down', null);
    expect(failed(answered(), at(0), 'down', null).state).toBe('closed');
    expect([twice.state, admits(twice, at(0), far)]).toEqual(['closed', 'yes']);
  });

  it('lets one probe through after its pause, and another only when that one is lost', () => {
    const b = tripped();
    expect([admits(b, at(4_999), far), admits(b, at(5_000), far)]).toEqual(['no', 'probe']);
    const probed = probing(b, at(5_000), 60_000);
    expect([admits(probed, at(64_999), far), admits(probed, at(65_000), far)]).toEqual(['no', 'probe']);
  });

  it('waits longer with every failed probe, up to ten minutes, and as long as the marketplace asks', () => {
    let b = tripped();
    const pauses: number[] = [];
    for (let i = 0; i < 9; i++) pauses.push((b = failed(probing(b, at(0), 1), at(0), 'down', null)).pauseMs / 1_000);
    expect(pauses).toEqual([10, 20, 40, 80, 160, 320, 600, 600, 600]);
    expect(failed(probing(tripped(), at(0), 1), at(0), 'slow down', 900_000).pauseMs).toBe(900_000);
    expect(failed(probing(tripped(), at(0), 1), at(0), 'slow down', 1e12).pauseMs).toBe(3_600_000);
  });

  it('does not grow by what was under way when it opened, and keeps since when', () => {
    const late = failed(tripped(), at(1_000), 'down', null);
    expect(late).toMatchObject({ state: 'open', pauseMs: 5_000, since: new Date(T0) });
  });

  it('is forced open for a probe when a hard deadline is near, every quarter of a minute', () => {
    const b = failed(probing(tripped(), at(0), 1), at(0), 'down', 3_600_000);
    const near = new Date(T0 + FORCED_WITHIN_MS + 20_000);
    expect(admits(b, at(14_999), new Date(T0 + 60_000))).toBe('no');
    expect(admits(b, at(15_000), new Date(T0 + 60_000))).toBe('forced');
    expect([admits(b, at(19_999), near), admits(b, at(20_000), near), admits(b, at(20_000), far)]).toEqual(['no', 'forced', 'no']);
  });

  it('takes a pause that business time has passed as over, so that a clock that runs ahead loses nothing', () => {
    expect([admits(tripped(), at(1, 4_999), far), admits(tripped(), at(1, 5_000), far)]).toEqual(['no', 'probe']);
  });
});

describe('a token bucket', () => {
  const rate = { perSecond: 10, burst: 5 };
  it('fills with real time up to its burst, and says how long the next token takes', () => {
    const empty = { tokens: 0, at: new Date(T0) };
    expect(take(empty, rate, new Date(T0 + 10_000), 1)).toEqual({ taken: 1, tokens: 4, waitMs: 0 });
    expect(take(empty, rate, new Date(T0 + 40), 1)).toMatchObject({ taken: 0, waitMs: 60 });
    // Whole tokens only, no more than there are, and what is left of one counts for the next.
    expect(take(empty, rate, new Date(T0 + 250), 7)).toEqual({ taken: 2, tokens: 0.5, waitMs: 50 });
    expect(take(empty, rate, new Date(T0 + 10_000), 7)).toEqual({ taken: 5, tokens: 0, waitMs: 100 });
    expect(take({ tokens: 2, at: new Date(T0) }, rate, new Date(T0 - 5_000), 3)).toEqual({ taken: 2, tokens: 0, waitMs: 100 });
  });

  it('of a limit for any second never lets more through in one, however the calls come', () => {
    const calls = fc.array(fc.record({ afterMs: fc.integer({ min: 0, max: 700 }), wanted: fc.integer({ min: 1, max: 30 }) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(fc.constantFrom(0.5, 1, 2, 5, 9, 10, 20), calls, (limit, asked) => {
        const rate = withinAnySecond(limit);
        let bucket = { tokens: rate.burst, at: new Date(T0) };
        const sent: number[] = [];
        for (const { afterMs, wanted } of asked) {
          const at = new Date(+bucket.at + afterMs);
          const { taken, tokens } = take(bucket, rate, at, wanted);
          bucket = { tokens, at };
          sent.push(...Array.from({ length: taken }, () => +at));
        }
        for (const from of sent) expect(sent.filter((t) => t >= from && t < from + 1_000).length).toBeLessThanOrEqual(Math.max(1, limit));
      }),
    );
    expect([withinAnySecond(10), withinAnySecond(0.5)]).toEqual([
      { perSecond: 7, burst: 2 },
      { perSecond: 0.5, burst: 1 },
    ]);
  });
});
