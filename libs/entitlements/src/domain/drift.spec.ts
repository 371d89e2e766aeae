import { describe, expect, it } from 'vitest';
import type { MarketplaceState, SubscriptionTruth } from '#marketplaces/core';
import { missingLinks } from './drift.js';

/** A chain of renewals as a list shows it: each one follows the one before. */
const chain = (...states: MarketplaceState[]): Map<string, SubscriptionTruth> =>
  new Map(
    states.map((state, i) => [
      `licence-${i}`,
      {
        externalSubscriptionId: `licence-${i}`,
        state,
        aliases: [{ kind: 'agreement', externalId: `agreement-${i}` }],
        supersedes: i === 0 ? null : { kind: 'agreement', externalId: `agreement-${i - 1}` },
      } as SubscriptionTruth,
    ]),
  );
const links = (listed: Map<string, SubscriptionTruth>, known: number[]): string[] => [
  ...missingLinks(listed, (id) => known.some((n) => id === `licence-${n}`), new Set(known.map((n) => `agreement/agreement-${n}`))),
];

describe('links of a chain of renewals that nobody told of [AW-48]', () => {
  it('are all that stand between what is in force and what is ours', () => {
    expect(links(chain('ended', 'ended', 'active'), [0])).toEqual(['licence-1']);
    expect(links(chain('ended', 'ended', 'ended', 'active'), [0]).sort()).toEqual(['licence-1', 'licence-2']);
    expect(links(chain('ended', 'ended', 'ended', 'active'), [0, 3]).sort()).toEqual(['licence-1', 'licence-2']);
    // The list leaves ours out: its name is known all the same.
    const withoutOurs = chain('ended', 'ended', 'active');
    withoutOurs.delete('licence-0');
    expect(links(withoutOurs, [0])).toEqual(['licence-1']);
  });

  it('are none where the chain is over, is complete, or has nothing of ours: what came and went stays where it is', () => {
    expect(links(chain('ended', 'ended', 'ended'), [0])).toEqual([]);
    expect(links(chain('ended', 'ended', 'active'), [0, 1])).toEqual([]);
    expect(links(chain('ended', 'ended', 'active'), [])).toEqual([]);
    expect(links(chain('ended', 'ended', 'active'), [2])).toEqual([]);
    expect(links(chain('ended', 'active'), [0])).toEqual([]);
  });

  it('are none in a list that turns in a circle', () => {
    const listed = chain('ended', 'ended', 'active');
    listed.set('licence-0', { ...listed.get('licence-0')!, supersedes: { kind: 'agreement', externalId: 'agreement-1' } });
    expect(links(listed, [])).toEqual([]);
  });
});
