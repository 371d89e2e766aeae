import { totalmem } from 'node:os';
import { describe, expect, it } from 'vitest';
import { roomOf, SMALL, usableMemory } from './postgres-memory.js';

const GIB = 1024 ** 3;

describe('the room of an embedded server', () => {
  it('follows the memory there is, never below what a small machine had nor above 2 GB', () => {
    expect([roomOf(0), roomOf(GIB / 2), roomOf(GIB)]).toEqual([SMALL, SMALL, SMALL]);
    expect(roomOf(4 * GIB)).toEqual({ shared_buffers: '512MB', max_wal_size: '4GB' });
    expect(roomOf(256 * GIB)).toEqual({ shared_buffers: '2048MB', max_wal_size: '4GB' });
  });

  it('counts no more memory than the machine has', () => {
    expect(usableMemory()).toBeGreaterThan(0);
    expect(usableMemory()).toBeLessThanOrEqual(totalmem());
  });
});
