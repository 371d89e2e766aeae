import { arrayText } from '#platform';

type Plain = string | number | bigint | boolean | null;

export interface SharedColumn<T> {
  of: (row: T) => Plain;
  /** How a value is sent, where that is not as it is told apart. */
  text?: (value: bigint) => string;
}

/** No text of ours holds it (half a character is refused at the door), so no text is taken for a missing one. */
const MISSING = '\ud800';
/** No text in Postgres holds it, so two values are never run together. */
const BETWEEN = '\u0000';

/**
 * What rows of one statement have in common, sent once: a row names it by its place in these columns, counted from 1 as Postgres does.
 * Of a thousand rows of an hour most columns say the same few things. Rows that differ in any column have places of their own.
 */
export class Shared<T> {
  private readonly places = new Map<string | bigint, number>();
  private readonly rows: T[] = [];
  /** The place that was answered last. */
  last = 0;

  constructor(private readonly columns: readonly SharedColumn<T>[]) {}

  placeOf(row: T): number {
    const key = this.keyOf(row);
    let place = this.places.get(key);
    if (place === undefined) this.places.set(key, (place = this.rows.push(row)));
    return (this.last = place);
  }

  /** The columns as texts of arrays, in their order. */
  texts(): string[] {
    return this.columns.map(({ of, text }) =>
      arrayText(
        this.rows.map((row) => {
          const value = of(row);
          return text && typeof value === 'bigint' ? text(value) : value;
        }),
      ),
    );
  }

  private keyOf(row: T): string | bigint {
    let key: string | bigint | null = null;
    for (const { of } of this.columns) {
      const value = of(row);
      const part = value === null ? MISSING : typeof value === 'string' || typeof value === 'bigint' ? value : String(value);
      key = key === null ? part : `${key}${BETWEEN}${part}`;
    }
    return key ?? '';
  }
}
