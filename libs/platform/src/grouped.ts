import { ProblemError } from './problem.js';

interface Waiting<I, O> {
  item: I;
  weight: number;
  resolve(result: O): void;
  reject(error: unknown): void;
}

export interface GroupBounds<I> {
  /** Groups under way at the same time. */
  groups: number;
  /** The weight of a group at most; a heavier item goes alone. */
  perGroup: number;
  /**
   * Small groups do not run beside each other: one begins only when as much waits as is under way, or when both weigh so much
   * together. And where less than this waits, a group is told before the next one begins, so that who sends again at once comes
   * along. More share a commit then, and nobody waits longer than one small group takes. 0 if left out.
   */
  beside?: number;
  /** The weight that may wait at most. */
  waiting: number;
  /** What an item counts for; 1 if left out. */
  weigh?: (item: I) => number;
  /** Whose it is: groups take from each in turn, and one may fill no more than `each` of what may wait. */
  of?: (item: I) => string;
  each?: number;
}

/**
 * Concurrent callers share a commit. While groups are under way, who comes meanwhile waits for the next one; a caller that is
 * alone waits for nobody. Each is answered only after the commit of its own group. A group that fails as a whole has left
 * nothing behind, so each of it is tried alone: one bad item refuses no other.
 */
export class Grouped<I, O> {
  /** By whose they are; who has been served last stands last. */
  private readonly queues = new Map<string, { items: Waiting<I, O>[]; weight: number }>();
  private waitingWeight = 0;
  private underWay = 0;
  private underWayWeight = 0;
  /** Turns of the event loop until the next group may begin; 0: nobody waits for one. */
  private turns = 0;

  constructor(
    private readonly together: (items: readonly I[]) => Promise<O[]>,
    private readonly alone: (item: I) => Promise<O>,
    private readonly bounds: GroupBounds<I>,
  ) {}

  /**
   * Throws what `alone` throws, `request.overloaded` (503) when too many wait, or `request.too_many_waiting` (429) when this
   * one's own wait already: nothing was stored, and may be sent again.
   */
  run(item: I): Promise<O> {
    const weight = this.bounds.weigh?.(item) ?? 1;
    const whose = this.bounds.of?.(item) ?? '';
    const queue = this.queues.get(whose) ?? { items: [], weight: 0 };
    if (queue.items.length > 0 && queue.weight + weight > (this.bounds.each ?? Infinity))
      return Promise.reject(
        new ProblemError('too_many', 'request.too_many_waiting', 'Too much that this key has sent is waiting. Send it again in a moment.'),
      );
    if (this.waitingWeight > 0 && this.waitingWeight + weight > this.bounds.waiting)
      return Promise.reject(new ProblemError('unavailable', 'request.overloaded', 'Too much comes in at once. Send it again in a moment.'));
    return new Promise<O>((resolve, reject) => {
      queue.items.push({ item, weight, resolve, reject });
      queue.weight += weight;
      this.queues.set(whose, queue);
      this.waitingWeight += weight;
      // After this turn of the event loop: who arrives in the same one joins.
      this.nextAfter(1);
    });
  }

  private nextAfter(turns: number): void {
    if (this.turns === 0) setImmediate(this.turn);
    this.turns = Math.max(this.turns, turns);
  }

  private readonly turn = (): void => {
    this.turns -= 1;
    if (this.turns > 0) setImmediate(this.turn);
    else this.next();
  };

  private next(): void {
    while (this.queues.size > 0 && this.mayBegin()) {
      const group = this.take();
      const weight = group.reduce((sum, one) => sum + one.weight, 0);
      this.underWay += 1;
      this.underWayWeight += weight;
      void this.settle(group).then((tell) => {
        this.underWay -= 1;
        this.underWayWeight -= weight;
        if (this.waitingWeight >= (this.bounds.beside ?? 0)) {
          // What the next group has to send goes first: the answers to this one take longer.
          this.next();
          setImmediate(tell);
        } else {
          tell();
          // The turn of the answers and the one in which who got one may have sent again.
          this.nextAfter(2);
        }
      });
    }
  }

  private mayBegin(): boolean {
    if (this.underWay === 0) return true;
    if (this.underWay >= this.bounds.groups) return false;
    return this.waitingWeight >= this.underWayWeight || this.underWayWeight + this.waitingWeight >= (this.bounds.beside ?? 0);
  }

  /** One of each in turn, until the group is full. */
  private take(): Waiting<I, O>[] {
    const group: Waiting<I, O>[] = [];
    let room = this.bounds.perGroup;
    for (const [whose, queue] of this.queues) {
      const one = queue.items[0]!;
      if (group.length > 0 && one.weight > room) break;
      queue.items.shift();
      queue.weight -= one.weight;
      this.waitingWeight -= one.weight;
      room -= one.weight;
      group.push(one);
      // A key that is set again moves to the end, and this loop meets it there.
      this.queues.delete(whose);
      if (queue.items.length > 0) this.queues.set(whose, queue);
      if (room <= 0) break;
    }
    return group;
  }

  /** Answers what tells them of it; those that had to be tried alone are told already. */
  private async settle(group: Waiting<I, O>[]): Promise<() => void> {
    if (group.length > 1) {
      try {
        const results = await this.together(group.map((one) => one.item));
        return () => group.forEach((one, i) => one.resolve(results[i]!));
      } catch {
        // Told by each one's own try.
      }
    }
    await Promise.all(group.map((one) => this.alone(one.item).then(one.resolve, one.reject)));
    return () => undefined;
  }
}
