import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { cleanDetails, detailsProblems } from './details-rules.js';

const regions = [{ id: 'weu' }];
const good = { organisation: 'Archive', region: 'weu', contactName: 'Sam Sample', contactEmail: 'sam@archive.example' };
const problemsWith = (change: Partial<typeof good>) => Object.keys(detailsProblems({ ...good, ...change }, regions));

describe('the rules for the details', () => {
  it('let good details pass', () => {
    expect(problemsWith({})).toEqual([]);
  });

  it.each([
    [1, false],
    [2, true],
    [80, true],
    [81, false],
  ])('for an organisation of %i characters', (length, passes) => {
    expect(problemsWith({ organisation: 'x'.repeat(length) })).toEqual(passes ? [] : ['organisation']);
  });

  it('do not count blanks around a value, and do not send them', () => {
    expect(problemsWith({ organisation: ' x ' })).toEqual(['organisation']);
    expect(cleanDetails({ ...good, contactEmail: ' sam@archive.example ' })).toEqual(good);
  });

  it('take only a region that is offered, and a person with a name', () => {
    expect(problemsWith({ region: 'mars', contactName: '  ' })).toEqual(['region', 'contactName']);
  });

  it.each([
    'sam@archive.example',
    'a.b+c@x-y.example',
    "o'neil@x.example",
    'sam',
    'sam@archive',
    '.a@x.example',
    'a..b@x.example',
    'a.@x.example',
    'a b@x.example',
    'a@-x.example',
    'a@x.e',
    'ä@x.example',
    '',
  ])('judge the address "%s" as zod on the server does', (contactEmail) => {
    expect(problemsWith({ contactEmail }).length === 0).toBe(z.email().safeParse(contactEmail).success);
  });
});
