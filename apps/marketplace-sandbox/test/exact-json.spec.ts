import { describe, expect, it } from 'vitest';
import { type ExactNumber, parseExact, stringifyExact, sumDecimals } from '../src/shared/exact-json.js';

describe('exact JSON', () => {
  it.each(['{"a":0.187500,"b":[1,-2.50,3e2],"c":"4.10 \\"5\\" \\\\","d":null,"e":true}', '[1E-7]', '0.30', '"1.0"', '{"1.50":2.0}'])(
    'writes %s as it was read',
    (text) => {
      expect(stringifyExact(parseExact(text))).toBe(text);
    },
  );

  it('gives numbers as their text and their value', () => {
    const { q } = parseExact('{"q":0.10}') as { q: ExactNumber };
    expect([q.text, q.value]).toEqual(['0.10', 0.1]);
  });

  it.each(['{"a":01}', '{"a":1.}', '{a:1}', '', '{"a":NaN}'])('refuses %s', (text) => {
    expect(() => parseExact(text)).toThrow();
  });

  it.each([
    [['0.1', '0.2'], '0.3'],
    [['9007199254740993', '0.000000001'], '9007199254740993.000000001'],
    [['1e3', '2.5E-1'], '1000.25'],
    [['-0.5', '0.25'], '-0.25'],
    [[], '0'],
    [['1.50'], '1.5'],
  ])('adds %j to %s', (texts, sum) => {
    expect(sumDecimals(texts)).toBe(sum);
  });
});
