import { describe, expect, it } from 'vitest';
import { faultBody, Faults, strikes } from '../src/shared/faults.js';
import { Store } from '../src/shared/store.js';
import { tempFolder } from './support/harness.js';

const rule = (extra: object = {}) => faultBody.parse({ marketplace: 'aws', operation: '*', kind: 'status', ...extra });
/** Which of the calls 1 to `count` of an operation are struck. */
function struck(faults: Faults, count: number, operation = 'batchMeterUsage'): number[] {
  return Array.from({ length: count }, (_one, index) => index + 1).filter(() => faults.take('aws', operation, ['status']));
}
const fresh = (seed = 'tide', folder?: string): Faults => new Faults(new Store(folder), seed);

const GOLDEN = [1, 6, 7, 9, 17, 24, 32, 34, 38];

describe('a fault with a rate', () => {
  it('strikes the calls that its seed says, the same in every run', () => {
    const runs = [1, 2].map(() => {
      const faults = fresh();
      faults.add(rule({ rate: 0.25 }));
      return struck(faults, 40);
    });
    // Literal: a change of the rule would change every run that somebody wrote down.
    expect(runs[0]).toEqual(GOLDEN);
    expect(runs[1]).toEqual(runs[0]);
  });

  it('has another pattern for another seed, and its own seed goes before that of the sandbox', () => {
    const [own, other] = [fresh('ebb'), fresh('ebb')];
    own.add(rule({ rate: 0.25, seed: 'tide' }));
    other.add(rule({ rate: 0.25 }));
    expect(struck(own, 40)).toEqual(GOLDEN);
    expect(struck(other, 40)).not.toEqual(GOLDEN);
    const [text, number] = [fresh(), fresh()];
    text.add(rule({ rate: 0.25, seed: '7' }));
    number.add(rule({ rate: 0.25, seed: 7 }));
    expect(struck(text, 40)).toEqual(struck(number, 40));
  });

  it('counts the calls of each operation by themselves: what else is called in between changes nothing', () => {
    const faults = fresh();
    faults.add(rule({ rate: 0.25 }));
    const among = Array.from({ length: 40 }, (_one, index) => {
      struck(faults, index % 3, 'resolveCustomer');
      return struck(faults, 1).length === 1 ? [index + 1] : [];
    });
    expect(among.flat()).toEqual(GOLDEN);
  });

  it('tells rules apart by marketplace and kind, and not by the former names of kinds', () => {
    const calls = Array.from({ length: 64 }, (_one, index) => index + 1);
    const of = (marketplace: string, kind: string) =>
      calls.filter((call) => strikes(faultBody.parse({ marketplace, kind, rate: 0.5 }) as never, 'ChangePlan', call)).join();
    expect(of('azure', 'lose_notification')).toBe(of('azure', 'lose_webhook'));
    expect(new Set([of('azure', 'lose_notification'), of('gcp', 'lose_notification'), of('azure', 'delay_notification')]).size).toBe(3);
  });

  it('strikes the share it is told: none at 0, all at 1, about a third at 0.3', () => {
    const share = (rate: number): number => {
      const faults = fresh();
      faults.add(rule({ rate }));
      return struck(faults, 2_000).length;
    };
    expect([share(0), share(1)]).toEqual([0, 2_000]);
    expect(share(0.3)).toBeGreaterThan(540);
    expect(share(0.3)).toBeLessThan(660);
    for (const rate of [-0.1, 1.1]) expect(() => rule({ rate })).toThrow();
  });

  it('ends after `times`, tells what it has struck, and goes on after a restart where it was', () => {
    const folder = tempFolder();
    const before = fresh('tide', folder);
    before.add(rule({ rate: 0.25, times: 6 }));
    const first = struck(before, 20);
    expect(before.list()).toMatchObject([{ seed: 'tide', struck: first.length, remaining: 6 - first.length }]);
    expect(before.list()[0]!.strikes).toEqual(first.map((call) => ({ operation: 'batchMeterUsage', call })));
    // A seed of the sandbox is of one run; that of a rule is kept with it.
    const after = fresh('ebb', folder);
    expect([...first, ...struck(after, 20).map((call) => call + 20)]).toEqual(GOLDEN.slice(0, 6));
    expect(after.list()).toEqual([]);
  });
});

describe('a fault without a rate', () => {
  it('strikes the next calls, one unless told, and is over', () => {
    const faults = fresh();
    faults.add(rule());
    faults.add(rule({ times: 2 }));
    expect(struck(faults, 5)).toEqual([1, 2, 3]);
    expect(faults.list()).toEqual([]);
  });
});
