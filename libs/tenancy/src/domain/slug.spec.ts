import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeSlug, SLUG } from './slug.js';

describe('a tenant slug', () => {
  it('is a DNS label for any display name in any script', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'grapheme' }),
          fc.string({ unit: fc.constantFrom(...'abz 09-'), maxLength: 120, size: 'max' }),
          fc.string({ unit: 'binary', maxLength: 300 }),
        ),
        fc.uuid(),
        (name, purchase) => {
          const slug = makeSlug(name, purchase);
          expect(slug).toMatch(SLUG);
          expect(slug.length).toBeLessThanOrEqual(63);
          expect(slug).not.toContain('--');
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is the same for the same purchase and another for another', () => {
    fc.assert(
      fc.property(fc.string(), fc.uuid(), fc.uuid(), (name, a, b) => {
        fc.pre(a !== b);
        expect(makeSlug(name, a)).toBe(makeSlug(name, a));
        expect(makeSlug(name, a)).not.toBe(makeSlug(name, b));
      }),
    );
  });

  it.each([
    ['Kelp & Daughters Ltd.', 'kelp-daughters-ltd'],
    ['Ångström Café', 'angstrom-cafe'],
    ['3 Harbours', 'harbours'],
    ['--- 42 ---', 'tenant'],
    ['x', 'tenant'],
    ['海藻', 'tenant'],
  ])('of "%s" begins with %s', (name, words) => {
    expect(makeSlug(name, 'p1').replace(/-[0-9a-f]{8}$/, '')).toBe(words);
  });

  it.each(['a', 'ab', '9ab', 'a_b', '-ab', 'ab-', 'Ab', `a${'b'.repeat(63)}`])('is never "%s"', (text) => {
    expect(SLUG.test(text)).toBe(false);
  });
});
