import { beforeAll, describe, expect, it } from 'vitest';
import { holds, isEven, judge } from '../../faults/judge.mjs';
import { playScenario, type Result } from '../../faults/play.mjs';
import { SHORT } from '../../faults/scenarios.mjs';

// The short form of `npm run faults`: all wire faults at 5 % at all three marketplaces, and a kill between acceptance and commit.
let played: Result;
beforeAll(async () => {
  const redis = process.env['BERTH_TEST_REDIS'] !== 'off';
  played = await playScenario(SHORT, { subscriptions: 6, hours: 3, seed: 1, layout: 'one', redis });
}, 170_000);

describe('under faults', () => {
  it('every hour that the generator used is billed, once and to the last unit', () => {
    const [row] = played.rows;
    expect(row!.verdict).toMatchObject({ lost: [], doubled: [], silent: [] });
    expect(row!.verdict.hours).toBeGreaterThan(25);
    expect(row!.verdict.billedHours).toBe(row!.verdict.hours);
  });

  it('the faults struck, and the kill came', () => {
    const { struck } = played.rows[0]!;
    expect(struck.azure + struck.aws + struck.gcp).toBeGreaterThan(3);
    expect(played.notes.join()).toContain('SIGKILL in a call to');
  });

  it('the same evidence turns red when one item less is billed, and when one is billed twice', () => {
    const { evidence } = played;
    const item = evidence.billed.find(
      (b) => Number(b.quantity) > 0 && Date.parse(b.hour) >= evidence.fromMs && Date.parse(b.hour) < evidence.untilMs,
    )!;
    expect(isEven(judge(evidence))).toBe(true);
    const less = judge({ ...evidence, billed: evidence.billed.filter((b) => b !== item) });
    expect([less.silent.length, holds(less)]).toEqual([1, false]);
    const twice = judge({ ...evidence, billed: [...evidence.billed, item] });
    expect([twice.doubled.length, holds(twice)]).toEqual([1, false]);
  });
});
