/**
 * Works under way side by side: one until one has gone well, then each that goes well makes room for another, up to `most`; one
 * that does not leaves room for one again. So whoever answers is asked quickly, and whoever does not is asked once at a time.
 */
export class InFlight {
  private readonly works = new Set<Promise<void>>();
  private places = 1;
  private failed = 0;
  private failure: { error: unknown } | null = null;

  constructor(private readonly most: number) {}

  get size(): number {
    return this.works.size;
  }

  /** How many there may be at once. */
  get room(): number {
    return this.places;
  }

  get free(): number {
    return Math.max(0, this.places - this.works.size);
  }

  /** How many did not go well: what was meant to start before one of them may not be wanted any more. */
  get setbacks(): number {
    return this.failed;
  }

  /** `work` answers whether it went well. What it throws is thrown by the next call that waits. */
  start(work: () => Promise<boolean>): void {
    const one: Promise<void> = work()
      .then(
        (well) => this.count(well),
        (error: unknown) => void (this.failure ??= { error }),
      )
      .finally(() => this.works.delete(one));
    this.works.add(one);
  }

  /** Until another may start. */
  async untilRoom(): Promise<void> {
    while (this.works.size >= this.places && !this.failure) await Promise.race(this.works);
    this.mustBeWell();
  }

  /** Until one of them has ended, or one of `or`. */
  async untilOne(or: readonly Promise<unknown>[] = []): Promise<void> {
    await Promise.race([...this.works, ...or]);
    this.mustBeWell();
  }

  /** Until none is under way, also where one has thrown. */
  async untilNone(): Promise<void> {
    await Promise.all(this.works);
    this.mustBeWell();
  }

  private count(well: boolean): void {
    this.places = well ? Math.min(this.places + 1, this.most) : 1;
    if (!well) this.failed += 1;
  }

  private mustBeWell(): void {
    if (this.failure) throw this.failure.error;
  }
}
