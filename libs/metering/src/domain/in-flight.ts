/**
 * Works under way side by side: one until one has gone well, then each that goes well makes room for another, up to `most`; one
 * that does not leaves room for one again. So whoever answers is asked quickly, and whoever does not is asked once at a time.
 */
export class InFlight {
  private readonly works = new Set<Promise<void>>();
  private room = 1;
  private failure: { error: unknown } | null = null;

  constructor(private readonly most: number) {}

  get size(): number {
    return this.works.size;
  }

  /** `work` answers whether it went well. What it throws is thrown by the next call that waits. */
  start(work: () => Promise<boolean>): void {
    const one: Promise<void> = work()
      .then(
        (well) => void (this.room = well ? Math.min(this.room + 1, this.most) : 1),
        (error: unknown) => void (this.failure ??= { error }),
      )
      .finally(() => this.works.delete(one));
    this.works.add(one);
  }

  /** Until another may start. */
  async untilRoom(): Promise<void> {
    while (this.works.size >= this.room && !this.failure) await Promise.race(this.works);
    this.mustBeWell();
  }

  /** Until one of them has ended, or `or`. */
  async untilOne(or: readonly Promise<unknown>[] = []): Promise<void> {
    await Promise.race([...this.works, ...or]);
    this.mustBeWell();
  }

  /** Until none is under way, also where one has thrown. */
  async untilNone(): Promise<void> {
    await Promise.all(this.works);
    this.mustBeWell();
  }

  private mustBeWell(): void {
    if (this.failure) throw this.failure.error;
  }
}
