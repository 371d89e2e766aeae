export interface ClockLoopEvents {
  /** Once per pass that did something. */
  worked(made: number): void;
  failed(error: unknown): void;
}

/**
 * Clocks that run one after another, and never two passes of them at once. Loops run beside each other: one that waits for
 * somebody outside delays none of the others.
 */
export class ClockLoop {
  private readonly ticks: (() => Promise<number>)[] = [];
  private pass: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private polling = false;

  constructor(private readonly events: ClockLoopEvents) {}

  add(tick: () => Promise<number>): void {
    this.ticks.push(tick);
  }

  /** One pass over the clocks; a call during a pass joins it. Never fails. */
  run(): Promise<void> {
    return (this.pass ??= this.once().finally(() => (this.pass = undefined)));
  }

  /** A whole pass that begins after this call: one that is under way may have looked before the clock was moved. */
  async fresh(): Promise<void> {
    await this.pass;
    await this.run();
  }

  /** A pass at once, and another one `pollMs` after each end; `after` is called between them. */
  start(pollMs: number, after: () => void): void {
    this.polling = true;
    const poll = (): void => {
      void this.run().then(() => {
        if (!this.polling) return;
        after();
        this.timer = setTimeout(poll, pollMs);
      });
    };
    poll();
  }

  /** Begins no pass by itself any more, and ends with the one that is under way. */
  async stop(): Promise<void> {
    this.polling = false;
    clearTimeout(this.timer);
    await this.pass;
  }

  private async once(): Promise<void> {
    let made = 0;
    for (const tick of this.ticks) {
      try {
        made += await tick();
      } catch (error) {
        this.events.failed(error);
      }
    }
    if (made > 0) this.events.worked(made);
  }
}
