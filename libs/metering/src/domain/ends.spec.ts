import { describe, expect, it } from 'vitest';
import { counter, hour, min, sample, segment, stream } from '../testing/hours.js';
import { measureHour } from './measure-hour.js';
import type { Sample } from './types.js';
import { US_PER_SECOND } from './units.js';

const END = hour(0) + min(58);
/** Access is cut off two seconds after the end; the last sample is taken then. The one before it is three minutes older than the end. */
const BLOCKED = END + 2n * US_PER_SECOND;
const before = sample(hour(0) + min(55), 1_000n);

const measured = (samples: Sample[]): { billed: bigint; nobody: bigint } => {
  const m = measureHour(
    { kind: 'counter', source: 'cell', hourStart: hour(0), endedAt: END, watermark: null },
    [segment({ endsAt: END, terms: counter })],
    {},
    [stream(samples, { until: BLOCKED })],
  );
  return { billed: m.bySegment.get('s1')!.measured - 1_000n, nobody: m.bySegment.get('')?.measured ?? 0n };
};

/** README "Invariants" 6: what the counter says around an end, and how far that may be from what was read at the cut. */
describe('the final delta of a counter', () => {
  it('is shared by time between the buyer and nobody, to the byte', () => {
    const delta = 182_000_001n; // 180 s before the end, 2 s after it
    const { billed, nobody } = measured([before, sample(BLOCKED, 1_000n + delta)]);
    expect(billed + nobody).toBe(delta);
    expect([billed, nobody]).toEqual([180_000_000n, 2_000_001n]);
  });

  it.each([
    ['before the end', 182_000_000n, 0n],
    ['after the end', 0n, 182_000_000n],
    ['on both sides', 7_000_000n, 91_000_000n],
  ])('is off by no more than the bound where all of it was moved %s', (_, moved, movedAfter) => {
    const { billed } = measured([before, sample(BLOCKED, 1_000n + moved + movedAfter)]);
    const error = billed - moved;
    // Never more over than what was moved between end and block, never more under than the block's share of what came before.
    expect(error <= (movedAfter * 180n) / 182n).toBe(true);
    expect(error >= -((moved * 2n) / 182n)).toBe(true);
  });

  it('is exact where a sample lies at the end itself', () => {
    expect(measured([before, sample(END, 51_000n), sample(BLOCKED, 9_000_000n)])).toEqual({ billed: 50_000n, nobody: 0n });
  });
});
