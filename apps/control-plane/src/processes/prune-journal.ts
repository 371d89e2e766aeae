import { pruneCalls, pruneMessages, realNow, type Tx } from '#platform';
import { pruneStates } from '#provisioning/drivers/terraform';
import { pruneConformanceRuns } from '#provisioning/engine';
import { pruneRuns } from '#metering';
import { liveAmong, pruneDriftRuns } from '#entitlements';
import type { ProcessContext } from './context.js';

export interface Pruned {
  calls: number;
  messages: number;
  runs: number;
  driftRuns: number;
}

/**
 * Takes away what is settled and older than `before`, at most `most` of each: calls that were answered, messages that were read,
 * comparisons that ended. What is open stays whatever its age: a call without an answer, a parked message, a comparison that an open
 * finding still names. So do the messages of a purchase that lives: a marketplace may tell one of them again, and on AWS nothing but
 * its messages says what it is. A replay of the ledger needs none of them (law 12, ADR 0020).
 */
export async function pruneJournal(p: ProcessContext, before: Date, most: number): Promise<Pruned> {
  return {
    calls: await p.db.ops((tx) => pruneCalls(tx, before, most)),
    messages: await p.db.ops((tx) => pruneMessages(tx, before, most, (ids) => liveAmong(tx as Tx, ids))),
    runs: await p.db.ops((tx) => pruneRuns(tx, before, most)),
    driftRuns: await p.db.ops((tx) => pruneDriftRuns(tx, before, most, (ids) => namedStill(tx, ids))),
  };
}

export interface PrunedProofs {
  conformanceRuns: number;
  stateVersions: number;
}
export interface KeepProofs {
  readonly conformanceDays: number;
  /** Versions of a cluster's state that stay whatever their age. */
  readonly keepStates: number;
  readonly stateDays: number;
}

const DAY_MS = 86_400_000;

/** Takes away old runs against endpoints and old states of terraform, at most `most` of each; what is asked for now stays at any age. */
export async function pruneProofs(p: ProcessContext, keep: KeepProofs, most: number): Promise<PrunedProofs> {
  const before = new Date(p.clock.now().getTime() - keep.conformanceDays * DAY_MS);
  // Terraform's states are written in real time, as its leases are.
  const states = { before: new Date(realNow().getTime() - keep.stateDays * DAY_MS), keep: keep.keepStates, most };
  return {
    conformanceRuns: await p.db.ops((tx) => pruneConformanceRuns(tx, before, most)),
    stateVersions: await p.db.ops((tx) => pruneStates(tx, states)),
  };
}

/** Drift runs that an open finding names, or the step of a reconciliation that is kept. */
async function namedStill(tx: Tx, driftRunIds: string[]): Promise<ReadonlySet<string>> {
  const rows = await tx.query<{ id: string }>(
    `select k.id from unnest($1::text[]) as k(id)
      where exists (select 1 from findings f where f.settlement is null and f.evidence ->> 'driftRunId' = k.id)
         or exists (select 1 from reconciliation_steps s where s.reference = k.id::uuid)`,
    [driftRunIds],
  );
  return new Set(rows.map((r) => r.id));
}
