/**
 * A shared limit that goes by deadline: at most `limit` works at once, and of those that wait the one whose hard deadline is
 * earliest goes next. For works of rows only: whoever waits for a marketplace must not hold a place here, else a slow one would
 * delay the others.
 */
export class DeadlineQueue {
  private running = 0;
  private readonly waiting: { deadline: number; order: number; go: () => void }[] = [];
  private order = 0;

  constructor(private readonly limit: number) {}

  async run<T>(deadline: Date | null, work: () => Promise<T>): Promise<T> {
    await this.enter(deadline === null ? Infinity : deadline.getTime());
    try {
      return await work();
    } finally {
      this.running -= 1;
      this.next();
    }
  }

  private enter(deadline: number): Promise<void> {
    return new Promise((go) => {
      this.waiting.push({ deadline, order: this.order++, go });
      this.next();
    });
  }

  private next(): void {
    if (this.running >= this.limit || this.waiting.length === 0) return;
    const first = this.waiting.reduce((a, b) => (b.deadline < a.deadline || (b.deadline === a.deadline && b.order < a.order) ? b : a));
    this.waiting.splice(this.waiting.indexOf(first), 1);
    this.running += 1;
    first.go();
  }
}
