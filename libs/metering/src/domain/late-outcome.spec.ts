import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judgeLost, type ToldGroup } from './late-outcome.js';

const group = (over: Partial<ToldGroup> = {}): ToldGroup => ({
  accepted: { quantity: '6', count: 2 },
  told: { quantity: '9', count: 3 },
  lost: [{ itemId: 'a', quantity: '3' }],
  unclear: 0,
  whole: true,
  exact: true,
  absenceTells: true,
  ...over,
});

describe('what a sum says of items whose answers were lost', () => {
  it('is that all were taken, or none, where it fits one of them exactly, with its count', () => {
    expect(judgeLost(group())).toMatchObject({ outcome: 'accepted', words: expect.stringContaining('They show 9 in 3') });
    expect(judgeLost(group({ told: { quantity: '9.0', count: null } })).outcome).toBe('accepted');
    expect(judgeLost(group({ told: { quantity: '6', count: 2 } })).outcome).toBe('not_taken');
  });

  it.each([
    ['a part of them', { told: { quantity: '8', count: 3 }, lost: ['3', '2'].map((quantity) => ({ itemId: quantity, quantity })) }],
    ['more than all of them', { told: { quantity: '10', count: 4 } }],
    ['another count', { told: { quantity: '9', count: 2 } }],
    ['another count of what has a receipt', { told: { quantity: '6', count: 3 } }],
    ['others that are not known', { unclear: 1 }],
    ['a report that rounds', { exact: false }],
    [
      'an amount of 0',
      {
        lost: [
          { itemId: 'a', quantity: '3' },
          { itemId: 'b', quantity: '0' },
        ],
      },
    ],
    ['the silence of a report that does not cover it', { told: { quantity: '6', count: null }, absenceTells: false }],
  ] as const)('is nothing for %s, and a person is told why', (_, over) => {
    expect(judgeLost(group(over))).toMatchObject({ outcome: 'open', words: expect.stringContaining('without an answer') });
  });

  it('is nothing yet while the group is not whole', () => {
    expect(judgeLost(group({ whole: false }))).toEqual({ outcome: 'early' });
  });

  it('never takes one for the other: what they took is what is said, or nothing is', () => {
    const amounts = fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.boolean()), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(amounts, fc.integer({ min: 0, max: 9 }), fc.boolean(), (items, accepted, counts) => {
        const taken = items.filter(([, there]) => there);
        const verdict = judgeLost(
          group({
            accepted: { quantity: String(accepted), count: 1 },
            told: {
              quantity: String(taken.reduce((sum, [n]) => sum + n, accepted)),
              count: counts ? 1 + taken.length : null,
            },
            lost: items.map(([n], i) => ({ itemId: String(i), quantity: String(n) })),
          }),
        );
        const truth = taken.length === items.length ? 'accepted' : taken.length === 0 ? 'not_taken' : 'open';
        expect(verdict.outcome).toBe(truth);
      }),
    );
  });
});
