/** What goes on longer than this before it is sent would better be claimed later: other workers and earlier deadlines wait for it. */
const AHEAD_MS = 1_000;

/**
 * How many batches one claim may take. A claim of many costs little more than a claim of one, but what is claimed is nobody
 * else's, and has its intent committed, until it is sent: so no more is taken than was answered within the last second, no more
 * than there were tokens for, and a single one while the marketplace has not answered.
 */
export class WaveSize {
  private readonly answers: number[] = [];
  private bound: number;

  constructor(
    private readonly most: number,
    /** Real milliseconds that only grow. */
    private readonly now: () => number = () => performance.now(),
  ) {
    this.bound = most;
  }

  /** A batch was answered. */
  answered(): void {
    this.answers.push(this.now());
    if (this.answers.length > this.most) this.answers.shift();
  }

  /** A claim asked for `asked` batches and had tokens for `granted` of them. */
  granted(asked: number, granted: number): void {
    this.bound = granted < asked ? Math.max(1, granted) : Math.min(this.most, Math.max(this.bound, asked * 2));
  }

  /** `room`: how many may be under way at once; `free`: how many of these places are. `safe`: a repeat does no harm. */
  next(room: number, free: number, safe: boolean): number {
    if (room <= 1) return Math.min(free, 1);
    // After a crash all that was claimed is unknown, sent or not: where that needs a person, nothing is claimed ahead.
    if (!safe) return Math.min(free, this.bound);
    const since = this.now() - AHEAD_MS;
    while (this.answers.length > 0 && this.answers[0]! < since) this.answers.shift();
    return Math.min(Math.max(free, this.answers.length), this.bound);
  }
}
