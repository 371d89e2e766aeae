import { errorText, isAway } from '#platform';
import type { ClosingDeps } from './deps.js';

/** What parts of one pass failed of: it is told at once, and fails the pass when all the others are done. */
export class Failures {
  private readonly errors: unknown[] = [];
  constructor(private readonly deps: Pick<ClosingDeps, 'logger'>) {}

  /** What `work` answers; 0 where it fails. A database that is away is no failure of the part: it ends the pass. */
  async hold(part: string, work: () => Promise<number>): Promise<number> {
    try {
      return await work();
    } catch (error) {
      if (isAway(error)) throw error;
      this.deps.logger.error({ part, err: errorText(error) }, 'a part of closing failed; the others go on');
      this.errors.push(error);
      return 0;
    }
  }

  tell(): void {
    if (this.errors.length > 0) throw this.errors[0];
  }
}
