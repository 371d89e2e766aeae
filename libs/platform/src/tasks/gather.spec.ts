import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Gather } from './gather.js';

describe('words to other processes', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('go out at once, and a crowd of them as one more at the end of the moment', () => {
    const told: number[] = [];
    const gather = new Gather(50);
    for (let i = 0; i < 100; i += 1) gather.soon(() => told.push(i));
    expect(told).toEqual([0]);
    vi.advanceTimersByTime(50);
    expect(told).toEqual([0, 99]);
    vi.advanceTimersByTime(1_000);
    expect(told).toEqual([0, 99]);
    gather.soon(() => told.push(100));
    expect(told).toEqual([0, 99, 100]);
  });

  it('are kept further apart the longer the crowd lasts, up to a bound, and are told at once when it is over', () => {
    const told: number[] = [];
    const gather = new Gather(50, 200);
    const at: number[] = [];
    const began = Date.now();
    for (let ms = 0; ms < 1_000; ms += 10) {
      gather.soon(() => at.push(Date.now() - began));
      vi.advanceTimersByTime(10);
    }
    expect(at).toEqual([0, 50, 150, 350, 550, 750, 950]);
    vi.advanceTimersByTime(1_000);
    gather.soon(() => told.push(1));
    gather.soon(() => told.push(2));
    expect(told).toEqual([1]);
    vi.advanceTimersByTime(50);
    expect(told).toEqual([1, 2]);
  });

  it('are kept apart by the moment however long the crowd lasts', () => {
    const told: number[] = [];
    const gather = new Gather(50, 50);
    for (let ms = 0; ms < 1_000; ms += 10) {
      gather.soon(() => told.push(ms));
      vi.advanceTimersByTime(10);
    }
    expect(told.length).toBeLessThanOrEqual(21);
    expect(told.at(-1)).toBeGreaterThanOrEqual(940);
  });

  it('end with their process', () => {
    const tell = vi.fn();
    const gather = new Gather(50);
    gather.soon(tell);
    gather.soon(tell);
    gather.stop();
    vi.advanceTimersByTime(1_000);
    expect(tell).toHaveBeenCalledTimes(1);
  });
});
