import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * A transaction that waits for a second connection holds the first one meanwhile: as many of them as the pool has connections wait for
 * each other, and with them everybody else, until they time out. So nobody begins one inside another. Whoever does, and is `watched`,
 * meets an error at once, whether or not the pool is at its end. Watching costs each promise of the process something: it is for tests
 * and development.
 */
export class OneAtATime {
  private readonly inside: AsyncLocalStorage<{ open: boolean }> | null;
  constructor(watched: boolean) {
    this.inside = watched ? new AsyncLocalStorage() : null;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (!this.inside) return work();
    if (this.inside.getStore()?.open)
      throw new Error('a transaction is begun inside another one: hand the open one on, or begin it before or afterwards');
    const here = { open: true };
    // What was begun in it and goes on after it holds no connection of its.
    return this.inside.run(here, work).finally(() => (here.open = false));
  }
}
