import { describe, expect, it } from 'vitest';
import { planIdsOf } from './plan-terms.js';

describe('the ids of a plan', () => {
  it.each([
    ['scale-P1Y', ['scale-P1Y', 'scale']],
    ['scale-P1Y6M', ['scale-P1Y6M', 'scale']],
    ['scale-P30D', ['scale-P30D', 'scale']],
    ['two-part-P3M', ['two-part-P3M', 'two-part']],
    ['scale', ['scale']],
    ['scale-P', ['scale-P']],
    ['scale-PRO', ['scale-PRO']],
    ['-P1Y', ['-P1Y']],
    ['scale-p1y', ['scale-p1y']],
  ])('of Google may end in a term: %s [GC-31]', (id, wanted) => {
    expect(planIdsOf('gcp', id)).toEqual(wanted);
  });

  it('of the others are what they are', () => {
    expect([planIdsOf('azure', 'scale-P1Y'), planIdsOf('aws', 'scale-P1Y')]).toEqual([['scale-P1Y'], ['scale-P1Y']]);
  });
});
