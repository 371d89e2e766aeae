import { beforeEach, describe, expect, it } from 'vitest';
import { WaveSize } from './wave-size.js';

let now: number;
let size: WaveSize;
const answer = (n: number): void => {
  for (let i = 0; i < n; i++) size.answered();
};
beforeEach(() => {
  now = 0;
  size = new WaveSize(10, () => now);
});

describe('a claim', () => {
  it('is of one batch while the marketplace has not answered, and of none while that one is under way', () => {
    answer(5);
    expect([size.next(1, 1, true), size.next(1, 0, true)]).toEqual([1, 0]);
  });

  it('is of what was answered within the last second, at least what can go at once, at most what is set', () => {
    answer(1);
    expect(size.next(4, 3, true)).toBe(3);
    answer(6);
    expect(size.next(4, 0, true)).toBe(7);
    answer(60);
    expect(size.next(4, 0, true)).toBe(10);
    now = 1_001;
    // Four hang: nothing is claimed ahead of them.
    expect([size.next(4, 0, true), size.next(4, 2, true)]).toEqual([0, 2]);
  });

  it('is never ahead of what can go at once where a repeat is not safe', () => {
    answer(8);
    expect([size.next(4, 0, false), size.next(4, 3, false)]).toEqual([0, 3]);
  });

  it('is small while a rate gives few tokens, and grows again with them', () => {
    answer(10);
    size.granted(10, 2);
    expect(size.next(4, 4, true)).toBe(2);
    size.granted(2, 0);
    expect(size.next(4, 4, true)).toBe(1);
    size.granted(1, 1);
    expect(size.next(4, 4, true)).toBe(2);
    size.granted(2, 2);
    size.granted(4, 4);
    size.granted(8, 8);
    expect(size.next(4, 4, true)).toBe(10);
    // Few that could go say nothing of the tokens.
    size.granted(1, 1);
    expect(size.next(4, 4, true)).toBe(10);
  });
});
