/** Real milliseconds between two words to other processes. */
const GATHER_MS = 50;

/** Many tasks that are due at once need one look: the first is told at once, all of the next moment by one more word. */
export class Gather {
  private quiet: NodeJS.Timeout | undefined;
  private waiting: (() => void) | undefined;

  constructor(private readonly ms = GATHER_MS) {}

  /** Calls `tell` now, or once at the end of the moment: then the latest one given. */
  soon(tell: () => void): void {
    if (this.quiet) {
      this.waiting = tell;
      return;
    }
    tell();
    this.pause();
  }

  stop(): void {
    clearTimeout(this.quiet);
    this.quiet = undefined;
    this.waiting = undefined;
  }

  private pause(): void {
    this.quiet = setTimeout(() => {
      this.quiet = undefined;
      const tell = this.waiting;
      this.waiting = undefined;
      if (!tell) return;
      tell();
      this.pause();
    }, this.ms);
  }
}
