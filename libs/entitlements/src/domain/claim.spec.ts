import { describe, expect, it } from 'vitest';
import { isBeneficiary } from './claim.js';

const her = { personId: '2f4c8a10-91d3-4b7e-a5c6-0d1e2f3a4b51', directoryId: '9e8d7c6b-5a49-4837-a625-1403f2e1d0c1' };

describe('the beneficiary', () => {
  it.each([
    ['both ids', her, true],
    ['both ids, spelled otherwise', { personId: her.personId.toUpperCase(), directoryId: her.directoryId.toUpperCase() }, true],
    ['another person of the directory', { ...her, personId: her.directoryId }, false],
    ['the same person id in another directory', { ...her, directoryId: her.personId }, false],
    ['a purchase that names nobody', null, false],
    ['a purchase whose ids are gone', { personId: null, directoryId: null }, false],
  ])('is known by both ids: %s', (_case, beneficiary, known) => expect(isBeneficiary(her, beneficiary)).toBe(known));

  it('is nobody where neither side has an id', () => {
    expect(isBeneficiary({ personId: '', directoryId: '' }, { personId: '', directoryId: '' })).toBe(false);
  });
});
