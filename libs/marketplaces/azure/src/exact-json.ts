/** A JSON number with the digits its sender wrote: metered quantities must not pass through a float. */
export class NumberText {
  constructor(readonly text: string) {}
}

// A noncharacter pair: no number's text holds it, and a message that does is refused.
const MARK = '\uFDD0\uFDD1';
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** `JSON.parse` in which every number becomes a `NumberText`. Throws `SyntaxError`. */
export function parseExactJson(text: string): unknown {
  JSON.parse(text);
  if (text.includes(MARK)) throw new SyntaxError('reserved characters in JSON text');
  const marked = text.replace(TOKEN, (token) => (token.startsWith('"') ? token : `"${MARK}${token}"`));
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARK) ? new NumberText(value.slice(MARK.length)) : value,
  );
}
