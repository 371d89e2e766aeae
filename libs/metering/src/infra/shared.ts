import { arrayText } from '#platform';

/**
 * What rows of one statement have in common, sent once: a row names it by its place in these columns, counted from 1 as Postgres does.
 * Of a thousand rows of an hour most columns say the same few things.
 */
export class Shared<T> {
  private readonly places = new Map<string | bigint, number>();
  private readonly values: T[] = [];
  /** The place that was answered last. */
  last = 0;

  /** `key` says all of `value` that a column is made of. */
  placeOf(key: string | bigint, value: T): number {
    let place = this.places.get(key);
    if (place === undefined) this.places.set(key, (place = this.values.push(value)));
    return (this.last = place);
  }

  column(of: (value: T) => string | number | bigint | boolean | null): string {
    return arrayText(this.values.map(of));
  }
}
