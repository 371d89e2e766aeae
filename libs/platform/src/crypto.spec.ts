import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, deriveSecret, sameSecret, Sealer, sha256Hex } from './crypto.js';

describe('a sealed value', () => {
  const sealer = new Sealer('a secret of the tests');

  it('opens to what was sealed', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }),
        fc.string(),
        (plain, purpose) => void expect(sealer.open(sealer.seal(plain, purpose), purpose)).toBe(plain),
      ),
    );
  });

  it('differs each time and does not show what is in it', () => {
    const [a, b] = [sealer.seal('ada@kelp.example', 'contact'), sealer.seal('ada@kelp.example', 'contact')];
    expect(a).not.toBe(b);
    expect(Buffer.from(a.split('.')[3]!, 'base64url').toString()).not.toContain('kelp');
  });

  it('opens neither for another purpose nor with another secret', () => {
    const sealed = sealer.seal('x', 'contact');
    expect(() => sealer.open(sealed, 'landing.token')).toThrow();
    expect(() => new Sealer('another secret').open(sealed, 'contact')).toThrow();
  });

  it('does not open once any part of it was changed', () => {
    const parts = sealer.seal('a longer text', 'contact').split('.');
    for (const i of [1, 2, 3]) {
      const bytes = Buffer.from(parts[i]!, 'base64url');
      bytes[0]! ^= 1;
      expect(() => sealer.open(parts.with(i, bytes.toString('base64url')).join('.'), 'contact')).toThrow();
    }
  });

  it('does not open with a tag cut short, which would be guessed', () => {
    const parts = sealer.seal('x', 'contact').split('.');
    const cut = Buffer.from(parts[2]!, 'base64url').subarray(0, 4).toString('base64url');
    expect(() => sealer.open(parts.with(2, cut).join('.'), 'contact')).toThrow();
  });

  it.each(['', 'v1', 'v2.a.b.c', 'plain text'])('is not "%s"', (text) => {
    expect(() => sealer.open(text, 'contact')).toThrow('not a sealed value');
  });
});

describe('secrets', () => {
  it('are equal or not whatever their length', () => {
    expect(sameSecret('abc', 'abc')).toBe(true);
    expect(sameSecret('abc', 'abcd')).toBe(false);
    expect(sameSecret('', 'a')).toBe(false);
  });

  it('are derived per purpose', () => {
    expect(deriveSecret('s', 'a')).toBe(deriveSecret('s', 'a'));
    expect(new Set([deriveSecret('s', 'a'), deriveSecret('s', 'b'), deriveSecret('t', 'a')]).size).toBe(3);
  });
});

describe('canonical JSON', () => {
  it('sorts keys, has no spaces, writes bigint and time as text and leaves out what is undefined', () => {
    const at = new Date('2030-05-01T10:00:00.250Z');
    expect(canonicalJson({ b: 10n ** 30n, a: [at, null, undefined], z: undefined, c: { y: 1.5, x: 'ü"' } })).toBe(
      '{"a":["2030-05-01T10:00:00.250Z",null,null],"b":"1000000000000000000000000000000","c":{"x":"ü\\"","y":1.5}}',
    );
  });

  it('is, for any JSON, what sorting all keys and writing it plainly gives: hashes of rows stored long ago are made over it', () => {
    const plainly = (v: unknown): string => {
      if (Array.isArray(v)) return `[${v.map(plainly).join(',')}]`;
      if (v === null || typeof v !== 'object') return JSON.stringify(v);
      const entries = Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1));
      return `{${entries.map(([k, one]) => `${JSON.stringify(k)}:${plainly(one)}`).join(',')}}`;
    };
    const text = fc.string({ unit: 'binary', maxLength: 4 });
    const { value: json } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        text,
        fc.double(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(fc.oneof(text, fc.constantFrom('__proto__', '1', '10', '9', 'id', 'a"b', '\u2028')), tie('value'), { maxKeys: 5 }),
      ),
    }));
    fc.assert(
      fc.property(json, (made) => {
        const value = JSON.parse(JSON.stringify(made)) as unknown;
        expect(canonicalJson(value)).toBe(plainly(value));
        // Again: what was remembered of its keys must not show.
        expect(canonicalJson([value, value])).toBe(plainly([value, value]));
      }),
      { numRuns: 100 },
    );
    expect(sha256Hex(canonicalJson({ b: ['ü', -0, 1e21], a: { z: 'x"y', y: '' } }))).toBe(
      'b236e3bbd3ed1678640a2e359160b704393d4bfc925918980dfd07299b3909c0',
    );
  });

  it('is the same for any order of keys and reads back as the same value', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ noNegativeZero: true } as never)), (value) => {
        const turned = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(turned)).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
