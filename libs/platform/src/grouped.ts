import { ProblemError } from './problem.js';

interface Waiting<I, O> {
  item: I;
  resolve(result: O): void;
  reject(error: unknown): void;
}

/**
 * Concurrent callers share a commit. While groups are under way, who comes meanwhile waits for the next one; a caller that is
 * alone waits for nobody. Each is answered only after the commit of its own group. A group that fails as a whole has left
 * nothing behind, so each of it is tried alone: one bad item refuses no other.
 */
export class Grouped<I, O> {
  private readonly waiting: Waiting<I, O>[] = [];
  private underWay = 0;

  constructor(
    private readonly together: (items: readonly I[]) => Promise<O[]>,
    private readonly alone: (item: I) => Promise<O>,
    private readonly bounds: { groups: number; perGroup: number; waiting: number },
  ) {}

  /** Throws what `alone` throws, or `request.overloaded` (503) when too many wait: nothing was stored, and may be sent again. */
  run(item: I): Promise<O> {
    if (this.waiting.length >= this.bounds.waiting)
      return Promise.reject(new ProblemError('unavailable', 'request.overloaded', 'Too much comes in at once. Send it again in a moment.'));
    return new Promise<O>((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      // After this turn of the event loop: who arrives in the same one joins.
      if (this.waiting.length === 1) setImmediate(() => this.next());
    });
  }

  private next(): void {
    while (this.waiting.length > 0 && this.underWay < this.bounds.groups) {
      const group = this.waiting.splice(0, this.bounds.perGroup);
      this.underWay += 1;
      void this.settle(group).finally(() => {
        this.underWay -= 1;
        this.next();
      });
    }
  }

  private async settle(group: Waiting<I, O>[]): Promise<void> {
    if (group.length > 1) {
      try {
        const results = await this.together(group.map((one) => one.item));
        group.forEach((one, i) => one.resolve(results[i]!));
        return;
      } catch {
        // Told by each one's own try.
      }
    }
    await Promise.all(group.map((one) => this.alone(one.item).then(one.resolve, one.reject)));
  }
}
