import { describe, expect, it } from 'vitest';
import { deviation, readDataUnit, timeLimited } from './index.js';

describe('a unit of data', () => {
  it.each([
    ['GiB-hour', 2n ** 30n, 'hour'],
    ['per GiB-hour', 2n ** 30n, 'hour'],
    ['GB hours', 10n ** 9n, 'hour'],
    ['gb_hours_stored', 10n ** 9n, 'hour'],
    ['standard_mib_egress', 2n ** 20n, 'none'],
    ['10 MiB', 10n * 2n ** 20n, 'none'],
    ['TB-month', 10n ** 12n, 'month'],
    ['bytes', 1n, 'none'],
  ] as const)('is read from %s', (text, bytes, per) => expect(readDataUnit(text)).toMatchObject({ bytes, per }));

  it.each(['per GPU hour', 'seat', '', '1000 requests'])('is not read into "%s"', (text) => expect(readDataUnit(text)).toBeNull());

  it('differs from its decimal namesake by 7.4 %', () => {
    expect(deviation(2n ** 30n, 10n ** 9n)).toBe('7.4 % more');
    expect(deviation(10n ** 9n, 2n ** 30n)).toBe('6.9 % less');
    expect(deviation(2n ** 30n, 2n ** 20n)).toBe('1024 times more');
  });
});

describe('a check of the doctor', () => {
  it('ends in time although its client never answers', async () => {
    await expect(timeLimited(() => new Promise(() => undefined), 20)).rejects.toThrow('no answer within 0.02 s');
    await expect(timeLimited(() => Promise.resolve(1), 1000)).resolves.toBe(1);
  });
});
