const PLAIN = /^[A-Za-z0-9_.:+@/-]+$/;
const quoted = (text: string): string => (PLAIN.test(text) && text.toLowerCase() !== 'null' ? text : `"${text.replace(/["\\]/g, '\\$&')}"`);

/**
 * Values as the text of a Postgres array, for a parameter that is cast (`$1::uuid[]`). The driver looks at each element of an
 * array one by one; where thousands of rows are written at once that is most of the work.
 */
export function arrayText(values: Iterable<string | number | bigint | boolean | null>): string {
  let text = '';
  // Columns of one batch mostly repeat themselves: a name is looked at once, not for each row.
  let last: string | null = null;
  let lastQuoted = '';
  for (const v of values) {
    if (typeof v === 'string') {
      if (v !== last) lastQuoted = quoted((last = v));
      text += (text === '' ? '{' : ',') + lastQuoted;
    } else text += (text === '' ? '{' : ',') + (v === null ? 'NULL' : String(v));
  }
  return text === '' ? '{}' : `${text}}`;
}
