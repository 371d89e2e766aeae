/** Real milliseconds. */
const WINDOW_MS = 100;
const BUSY_IN_WINDOW = 8;
const BUSY_AT_ONCE = 4;
/** Between two tasks while senders wait: some 5 a second go on as a burst begins, one a second as it lasts. */
const STEP_MS = 200;
const MOST_STEP_MS = 1_000;
/** A burst may hold the worker back for so long; then it works on whatever comes. */
const MOST_MS = 30_000;
/** So long without a burst makes the next one a new one. */
const CALM_MS = 1_000;

/**
 * Where the API and the worker are one process, a burst of senders who wait for an acknowledgement goes before the work that
 * follows from it: the inbox keeps it, and marketplaces count answers, not outcomes. Real time; holds no fact.
 */
export class Pressure {
  private inside = 0;
  private recent: number[] = [];
  private burstSince: number | null = null;
  private lastBusy = Number.NEGATIVE_INFINITY;
  private lastStep = Number.NEGATIVE_INFINITY;
  private stepMs = STEP_MS;

  constructor(private readonly nowMs: () => number = () => performance.now()) {}

  /** Around the storing of one message whose sender has been verified: strangers cannot hold the worker back. */
  async around<T>(work: () => Promise<T>): Promise<T> {
    this.inside += 1;
    this.recent.push(this.nowMs());
    if (this.recent.length > BUSY_IN_WINDOW) this.recent.shift();
    this.look();
    try {
      return await work();
    } finally {
      this.inside -= 1;
    }
  }

  /** How many of `free` hands may take a task now; where it is none, `againMs` says when to ask again. */
  allow(free: number, running: number): { hands: number; againMs: number | null } {
    if (!this.look()) return { hands: free, againMs: null };
    const now = this.nowMs();
    const wait = this.lastStep + this.stepMs - now;
    if (running > 0 || wait > 0) return { hands: 0, againMs: Math.max(wait, 10) };
    if (now - this.burstSince! > this.stepMs) this.stepMs = Math.min(MOST_STEP_MS, this.stepMs * 2);
    this.lastStep = now;
    return { hands: 1, againMs: this.stepMs };
  }

  private look(): boolean {
    const now = this.nowMs();
    const busy = this.inside >= BUSY_AT_ONCE || (this.recent.length === BUSY_IN_WINDOW && now - this.recent[0]! <= WINDOW_MS);
    if (busy) {
      if (this.burstSince === null || now - this.lastBusy > CALM_MS) {
        this.burstSince = now;
        this.stepMs = STEP_MS;
      }
      this.lastBusy = now;
    }
    return busy && now - this.burstSince! < MOST_MS;
  }
}
