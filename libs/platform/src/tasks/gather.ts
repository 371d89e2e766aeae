/** Real milliseconds between two words to other processes: as a crowd begins, and at most while it lasts. */
const GATHER_MS = 50;
const MOST_MS = 200;

/**
 * Many tasks that are due at once need one look: the first is told at once, all of the next moment by one more word, and as long as
 * more come the moments grow. After a moment without any it begins anew.
 */
export class Gather {
  private quiet: NodeJS.Timeout | undefined;
  private waiting: (() => void) | undefined;

  constructor(
    private readonly ms = GATHER_MS,
    private readonly mostMs = Math.max(ms, MOST_MS),
  ) {}

  /** Calls `tell` now, or once at the end of the moment: then the latest one given. */
  soon(tell: () => void): void {
    if (this.quiet) {
      this.waiting = tell;
      return;
    }
    tell();
    this.pause(this.ms);
  }

  stop(): void {
    clearTimeout(this.quiet);
    this.quiet = undefined;
    this.waiting = undefined;
  }

  private pause(ms: number): void {
    this.quiet = setTimeout(() => {
      this.quiet = undefined;
      const tell = this.waiting;
      this.waiting = undefined;
      if (!tell) return;
      tell();
      this.pause(Math.min(this.mostMs, ms * 2));
    }, ms);
  }
}
