import { pruneCalls, pruneMessages, type Tx } from '#platform';
import { pruneRuns } from '#metering';
import { liveAmong } from '#entitlements';
import type { ProcessContext } from './context.js';

export interface Pruned {
  calls: number;
  messages: number;
  runs: number;
}

/**
 * Takes away what is settled and older than `before`, at most `most` of each: calls that were answered, messages that were read,
 * comparisons that ended. What is open stays whatever its age: a call without an answer, a parked message, a comparison that a
 * finding still names. So do the messages of a purchase that lives: a marketplace may tell one of them again, and on AWS nothing but
 * its messages says what it is. A replay of the ledger needs none of the three (law 12, ADR 0020).
 */
export async function pruneJournal(p: ProcessContext, before: Date, most: number): Promise<Pruned> {
  return {
    calls: await p.db.ops((tx) => pruneCalls(tx, before, most)),
    messages: await p.db.ops((tx) => pruneMessages(tx, before, most, (ids) => liveAmong(tx as Tx, ids))),
    runs: await p.db.ops((tx) => pruneRuns(tx, before, most)),
  };
}
