import type { ProcessContext } from '../processes/context.js';

/** A clock of the worker that looks once in `everyMs` of business time, however often it is asked; at once after a start. */
export abstract class PacedClock {
  private lookAt = 0;

  constructor(
    protected readonly p: ProcessContext,
    private readonly everyMs: number,
  ) {}

  /** Answers how much it found or did: what others may wait for. */
  async tick(): Promise<number> {
    const now = this.p.clock.now();
    if (now.getTime() < this.lookAt) return 0;
    this.lookAt = now.getTime() + this.everyMs;
    return this.look(now);
  }

  protected abstract look(now: Date): Promise<number>;
}
