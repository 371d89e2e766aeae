/** A JSON number with the digits its sender wrote: metered quantities must not pass through a float. */
export class NumberText {
  constructor(readonly text: string) {}
}

// A noncharacter pair: no number's text holds it, and a message that does is refused.
const MARK = '\uFDD0\uFDD1';
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/**
 * A number that a double would not give back digit by digit: more than fifteen, a zero at its end, an exponent, many zeros before
 * the first digit. Text that only looks like one costs time, not truth.
 */
const INEXACT = /(?:"\s*:|[,[])\s*(?:-0|-?(?:\d[\d.]{15}|\d*\.\d*0(?!\d)|\d+(?:\.\d+)?[eE]|0\.0{5}))/;

/**
 * `JSON.parse` that keeps every number as it was written: as a `NumberText` where a double would change it (all of the text's
 * numbers are then), else as the number, whose text is the same. Throws `SyntaxError`.
 */
export function parseExactJson(text: string): unknown {
  const parsed: unknown = JSON.parse(text);
  if (!INEXACT.test(text) && typeof parsed === 'object') return parsed;
  if (text.includes(MARK)) throw new SyntaxError('reserved characters in JSON text');
  const marked = text.replace(TOKEN, (token) => (token.startsWith('"') ? token : `"${MARK}${token}"`));
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARK) ? new NumberText(value.slice(MARK.length)) : value,
  );
}
