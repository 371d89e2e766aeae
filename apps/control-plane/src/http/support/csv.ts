import { Readable } from 'node:stream';

const NUMBER = /^-?\d+(\.\d+)?$/;
/** What a spreadsheet would take for a formula; full-width signs too. */
const FORMULA = /^[\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r]/;

/** One record of RFC 4180. Text that a spreadsheet would run is shown with an apostrophe; numbers stay numbers. */
export const csvLine = (values: readonly unknown[]): string => `${values.map(cell).join(',')}\r\n`;

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  let text =
    value instanceof Date ? value.toISOString() : typeof value === 'object' ? JSON.stringify(value) : String(value as string | number);
  if (FORMULA.test(text) && !NUMBER.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * A whole list as CSV, page by page in transactions of its own: memory holds one page, no connection is kept while the reader is
 * slow, and a reader who leaves ends it. A failure in the middle breaks the answer off, so that nobody takes a part for the whole.
 */
export function csvStream<T>(
  columns: readonly string[],
  page: (after: string | null) => Promise<{ items: T[]; nextCursor: string | null }>,
  row: (item: T) => readonly unknown[],
): Readable {
  async function* lines(): AsyncGenerator<string> {
    let { items, nextCursor } = await page(null);
    yield csvLine(columns);
    for (;;) {
      yield items.map((i) => csvLine(row(i))).join('');
      if (nextCursor === null) return;
      ({ items, nextCursor } = await page(nextCursor));
    }
  }
  return textStream(lines());
}

/** Pieces of a text as bytes, made as the reader takes them. A failure in the middle breaks the answer off. */
export const textStream = (pieces: AsyncIterable<string>): Readable =>
  Readable.from(skipEmpty(pieces), { objectMode: false, highWaterMark: 64 * 1024 });

/** An empty chunk would end a byte stream early. */
async function* skipEmpty(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const c of chunks) if (c !== '') yield c;
}
