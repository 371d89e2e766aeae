import { describe, expect, it } from 'vitest';
import { judgeLook } from './export-check.js';

describe('a look at data whose access has ended', () => {
  const look = (storedBytes: bigint | null) => ({ storedBytes, seenAt: new Date(0), why: 'no route' });

  it.each([
    ['nothing is there', look(0n), true, 'not_needed'],
    ['one byte is there', look(1n), true, 'open'],
    ['nobody could tell', look(null), true, 'open'],
    ['nobody could ever store anything', look(null), false, 'not_needed'],
  ] as const)('where %s', (_where, seen, served, state) => {
    expect(judgeLook(seen, served).state).toBe(state);
  });

  it('says why nobody could tell', () => {
    expect(judgeLook(look(null), true).reason).toContain('no route');
  });
});
