import { pruneTasks } from '#platform';
import { pruneJournal, pruneProofs, type KeepProofs, type Pruned, type PrunedProofs } from '../processes/prune-journal.js';
import type { ProcessContext } from '../processes/context.js';

/** Long enough to see what was done about a purchase lately; its timeline does not need them. */
const KEEP_DONE_MS = 30 * 86_400_000;
const LOOK_EVERY_MS = 10 * 60_000;
const AT_ONCE = 1_000;
export const DEFAULT_JOURNAL_DAYS = 400;
export const DEFAULT_KEEP_PROOFS: KeepProofs = { conformanceDays: 400, keepStates: 50, stateDays: 90 };

/**
 * Takes finished tasks away, and of the journal what is settled and past its retention; a bounded number a pass, so that the tables of
 * years are no larger than they need to be; so with runs against endpoints and states of terraform.
 */
export class PruneClock {
  private lookAt = 0;

  constructor(
    private readonly p: ProcessContext,
    private readonly journalDays = DEFAULT_JOURNAL_DAYS,
    private readonly keepProofs = DEFAULT_KEEP_PROOFS,
  ) {}

  /** Answers how many went. */
  async tick(): Promise<number> {
    const now = this.p.clock.now().getTime();
    if (now < this.lookAt) return 0;
    const gone = await this.p.db.ops((tx) => pruneTasks(tx, new Date(now - KEEP_DONE_MS), AT_ONCE));
    const pruned: Record<keyof Pruned, number> = await pruneJournal(this.p, new Date(now - this.journalDays * 86_400_000), AT_ONCE);
    const proofs: Record<keyof PrunedProofs, number> = await pruneProofs(this.p, this.keepProofs, AT_ONCE);
    // A full batch: the rest is left to the next pass.
    const counts = [gone, ...Object.values(pruned), ...Object.values(proofs)];
    this.lookAt = counts.includes(AT_ONCE) ? 0 : now + LOOK_EVERY_MS;
    return counts.reduce((sum, n) => sum + n, 0);
  }
}
