import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countWatermarks, GAP_LIMIT, runsOf } from './watermarks.js';

const NOW = 1_000n * GAP_LIMIT;
const mark = (sequence: bigint) => ({ sequence, through: NOW - 1_000n + sequence });

describe('numbers of a source', () => {
  it('become runs; what is unnumbered is none', () => {
    expect(runsOf([5n, 0n, 2n, 1n, 5n, 6n])).toEqual([
      { low: 1n, high: 2n },
      { low: 5n, high: 6n },
    ]);
  });

  it('hold a watermark back until the batch before it is here', () => {
    const behind = [mark(10n)];
    expect(countWatermarks(5n, runsOf([7n, 8n, 9n, 10n]), behind, NOW)).toEqual({ reached: 5n, through: null });
    expect(countWatermarks(5n, runsOf([6n, 7n, 8n, 9n, 10n]), behind, NOW)).toEqual({ reached: 10n, through: mark(10n).through });
  });

  it('let a gap go when every hour it could belong to is past its hold limit', () => {
    const old = { sequence: 10n, through: NOW - GAP_LIMIT };
    expect(countWatermarks(5n, runsOf([10n, 11n, 12n]), [old, mark(12n)], NOW)).toEqual({ reached: 12n, through: mark(12n).through });
    expect(countWatermarks(5n, runsOf([10n]), [{ ...old, through: old.through + 1n }], NOW)).toEqual({ reached: 5n, through: null });
  });

  it('end at the same place however the events are cut into requests and ordered, and never count over a gap', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ watermark: fc.boolean(), lost: fc.boolean() }), { minLength: 1, maxLength: 30 }),
        fc.infiniteStream(fc.nat()),
        (events, choices) => {
          const here = events.flatMap((e, i) => (e.lost ? [] : [{ n: BigInt(i + 1), watermark: e.watermark }]));
          for (let i = here.length - 1; i > 0; i--) {
            const j = choices.next().value! % (i + 1);
            [here[i], here[j]] = [here[j]!, here[i]!];
          }
          let reached = 0n;
          let counted: bigint | null = null;
          const seen: bigint[] = [];
          let waiting: { sequence: bigint; through: bigint }[] = [];
          for (const e of here) {
            seen.push(e.n);
            if (e.watermark) waiting.push(mark(e.n));
            if (choices.next().value! % 2 === 0 && e !== here.at(-1)) continue;
            const next = countWatermarks(reached, runsOf(seen), waiting, NOW);
            reached = next.reached;
            counted = next.through ?? counted;
            waiting = waiting.filter((w) => w.sequence > reached);
          }
          const firstLost = events.findIndex((e) => e.lost);
          const whole = BigInt(firstLost === -1 ? events.length : firstLost);
          expect(reached).toBe(here.length === 0 ? 0n : whole);
          const last = events.findLastIndex((e, i) => e.watermark && BigInt(i + 1) <= whole);
          expect(counted).toBe(last === -1 ? null : mark(BigInt(last + 1)).through);
        },
      ),
      { numRuns: 300 },
    );
  });
});
