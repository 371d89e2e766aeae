import { describe, expect, it } from 'vitest';
import { gate } from '#platform/testing';
import { DeadlineQueue } from './deadline-queue.js';

const T0 = Date.UTC(2026, 2, 10, 12);

describe('a shared limit', () => {
  it('gives the next place to the earliest hard deadline, whoever came first', async () => {
    const queue = new DeadlineQueue(1);
    const done: string[] = [];
    const { opened, open } = gate();
    const busy = queue.run(null, () => opened);
    const others = [
      ['late', 9],
      ['soon', 1],
      ['soon too', 1],
      ['between', 5],
    ].map(([name, hours]) => queue.run(new Date(T0 + Number(hours) * 3_600_000), async () => void done.push(String(name))));
    const failing = queue.run(new Date(T0), () => Promise.reject(new Error('no')));
    open();
    await expect(failing).rejects.toThrow('no');
    await Promise.all([busy, ...others]);
    expect(done).toEqual(['soon', 'soon too', 'between', 'late']);
  });
});
