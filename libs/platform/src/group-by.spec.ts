import { expect, it } from 'vitest';
import { groupBy } from './group-by.js';

it('puts items together by their key, each group in the order in which they came', () => {
  expect([...groupBy(['b1', 'a1', 'b2'], (x) => x[0])]).toEqual([
    ['b', ['b1', 'b2']],
    ['a', ['a1']],
  ]);
  expect(groupBy([], String).size).toBe(0);
});
