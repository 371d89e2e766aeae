import { describe, expect, it } from 'vitest';
import { judgeStored, STORED_TOLD_FOR_MS } from './stored-limit.js';

const NOW = new Date('2030-05-01T10:00:00Z');
const told = (bytes: bigint, agoMs: number) => ({ bytes, at: new Date(NOW.getTime() - agoMs) });

describe('what is stored, where less shall be allowed', () => {
  it('fits to the byte', () => {
    expect(judgeStored(told(100n, 0), 100n, NOW)).toBe('fits');
    expect(judgeStored(told(101n, 0), 100n, NOW)).toBe('more');
  });

  it('is too much however long ago it was told: silence deletes nothing', () => {
    expect(judgeStored(told(101n, 34 * 86_400_000), 100n, NOW)).toBe('more');
  });

  it('may have grown since it was told, so that after an hour of silence nobody knows', () => {
    expect(judgeStored(told(1n, STORED_TOLD_FOR_MS), 100n, NOW)).toBe('fits');
    expect(judgeStored(told(1n, STORED_TOLD_FOR_MS + 1), 100n, NOW)).toBe('unknown');
  });

  it('speaks against nothing where nothing was there, or nobody ever told', () => {
    expect(judgeStored(told(0n, 30 * 86_400_000), 100n, NOW)).toBe('fits');
    expect(judgeStored(null, 0n, NOW)).toBe('fits');
  });
});
