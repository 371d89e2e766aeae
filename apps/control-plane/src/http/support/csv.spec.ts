import fc from 'fast-check';
import { parse } from 'csv-parse/sync';
import { describe, expect, it } from 'vitest';
import { csvLine, csvStream } from './csv.js';

describe('CSV that is handed out', () => {
  it('reads back as it was, whatever the text, and starts no formula', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' }), { minLength: 2, maxLength: 6 }), (values) => {
        const [row] = parse(csvLine(values), { relax_column_count: true }) as string[][];
        const shown = values.map((v) =>
          /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r]/.test(v) && !/^-?\d+(\.\d+)?$/.test(v) ? `'${v}` : v,
        );
        expect(row).toEqual(shown);
        for (const c of row!) expect(/^[=+@\t\r]/.test(c)).toBe(false);
      }),
    );
  });
  it('keeps numbers, also negative ones, and ends lines as RFC 4180 says', () => {
    expect(csvLine(['-3.5', 7, null, 'a,b', 'say "x"', '=1+1', '-1+1', new Date(0)])).toBe(
      `-3.5,7,,"a,b","say ""x""",'=1+1,'-1+1,1970-01-01T00:00:00.000Z\r\n`,
    );
  });
  it('asks for the next page only when the reader has taken the one before, and stops when he leaves', async () => {
    let asked = 0;
    const stream = csvStream(
      ['n', 'pad'],
      (after) => {
        asked += 1;
        const n = Number(after ?? 0);
        return Promise.resolve({ items: Array.from({ length: 100 }, (_, i) => n + i), nextCursor: n < 1_000_000 ? String(n + 100) : null });
      },
      (i) => [i, 'x'.repeat(1_000)],
    );
    let bytes = 0;
    for await (const chunk of stream) {
      bytes += (chunk as Buffer).length;
      if (bytes > 500_000) break;
    }
    expect(asked).toBeLessThan(12);
    const before = asked;
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toBe(before);
  });
  it('breaks off where a page fails, and names its columns also where nothing is there', async () => {
    const read = async (s: AsyncIterable<unknown>): Promise<string> => {
      let text = '';
      for await (const chunk of s) text += String(chunk);
      return text;
    };
    expect(
      await read(
        csvStream(
          ['a'],
          () => Promise.resolve({ items: [], nextCursor: null }),
          () => [],
        ),
      ),
    ).toBe('a\r\n');
    let n = 0;
    const broken = csvStream(
      ['a'],
      () => (n++ === 0 ? Promise.resolve({ items: [1], nextCursor: 'x' }) : Promise.reject(new Error('gone'))),
      (i) => [i],
    );
    await expect(read(broken)).rejects.toThrow('gone');
  });
});
