import { describe, expect, it } from 'vitest';
import { RunAgainAt } from '#platform';
import { ManualClock } from '#platform/testing';
import { MarketplaceBusy, MarketplaceRefusal } from '#marketplaces/core';
import { whenToRunAgain } from './patience.js';

const NOW = new Date('2031-03-04T05:00:00Z');
const clock = new ManualClock(NOW);

describe('a run that a busy marketplace spoiled', () => {
  it('is repeated by the runner as any other, the first times', () => {
    const error = new MarketplaceBusy('503');
    expect(whenToRunAgain(error, 7, clock)).toBe(error);
  });

  it('is never parked: from then on it waits five minutes each time', () => {
    for (const attempt of [8, 12, 4_000]) {
      const again = whenToRunAgain(new MarketplaceBusy('503'), attempt, clock);
      expect(again).toBeInstanceOf(RunAgainAt);
      expect((again as RunAgainAt).at).toEqual(new Date(NOW.getTime() + 300_000));
    }
  });

  it('waits as long as the marketplace asked for, from the first time on', () => {
    const again = whenToRunAgain(new MarketplaceBusy('429', 42_000), 1, clock);
    expect((again as RunAgainAt).at).toEqual(new Date(NOW.getTime() + 42_000));
  });

  it('waits for credentials that are refused to be mended, from the first time on', () => {
    for (const status of [401, 403])
      expect(whenToRunAgain(new MarketplaceRefusal('azure.unauthorised', 'no', status), 1, clock)).toBeInstanceOf(RunAgainAt);
  });

  it('leaves every other failure to the runner, which parks it in the end', () => {
    const error = new MarketplaceRefusal('aws.invalid_request', 'no');
    expect(whenToRunAgain(error, 12, clock)).toBe(error);
  });
});
