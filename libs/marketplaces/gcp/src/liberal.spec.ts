import { describe, expect, it } from 'vitest';
import { cutToBytes } from './liberal.js';

describe('a reason', () => {
  it('is cut to bytes without halving a character [GC-22]', () => {
    expect(cutToBytes('ä'.repeat(200), 255)).toBe('ä'.repeat(127));
    expect(cutToBytes('fine', 256)).toBe('fine');
  });
});
