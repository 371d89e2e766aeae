import { uuidv7, type Tx } from '#platform';
import type { Marketplace, SubscriptionTruth } from '#marketplaces/core';
import { changedThereAt, differencesOf, isExpectedThere, isYoung, missingLinks, nameOf, type DriftDifference } from '../domain/drift.js';
import { isOver } from '../domain/subscription-states.js';
import { SubscriptionRecord } from '../infra/subscription.record.js';
import type { Catalog } from './catalog.js';
import type { Page, PageQuery } from './read-models.js';
import { subscriptionIdOf } from './subscriptions.js';

export type DriftVerdict =
  | 'foreign'
  | 'ended_there'
  | 'not_yet_visible'
  | 'rereading'
  | 'agrees_now'
  | 'omitted'
  | 'applied'
  | 'missing_there'
  | 'differs'
  | 'unread';

export interface DriftLine {
  externalSubscriptionId: string;
  subscriptionId: string | null;
  verdict: DriftVerdict;
  differences: DriftDifference[];
  note: string;
}

export interface DriftRunRow extends Record<string, unknown> {
  drift_run_id: string;
  marketplace: Marketplace;
  requested_by: string;
  state: 'requested' | 'rereading' | 'completed' | 'failed' | 'not_comparable';
  counts: Record<string, number> | null;
  error: string | null;
  created_at: Date;
  compared_at: Date | null;
  completed_at: Date | null;
}

export interface DriftLineRow extends Record<string, unknown> {
  drift_run_id: string;
  external_subscription_id: string;
  subscription_id: string | null;
  verdict: DriftVerdict;
  differences: DriftDifference[];
  note: string;
  judged_at: Date;
}

/** A run that is not through after this long waits for a parked lane or a silent marketplace: the next one need not. */
export const DRIFT_PATIENCE_MS = 3_600_000;

/** A new run, or the one that is open: one at a time, however many ask. */
export async function openDriftRun(
  tx: Tx,
  input: { marketplace: Marketplace; requestedBy: string; now: Date },
): Promise<{ driftRunId: string; fresh: boolean }> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205316))', [input.marketplace]);
  const [open] = await tx.query<DriftRunRow>(`select * from drift_runs where marketplace = $1 and state in ('requested', 'rereading')`, [
    input.marketplace,
  ]);
  const through = open?.state === 'rereading' && (await closeIfThrough(tx, open.drift_run_id, input.now));
  if (open && !through) {
    if (input.now.getTime() - open.created_at.getTime() < DRIFT_PATIENCE_MS) return { driftRunId: open.drift_run_id, fresh: false };
    if (await unclosedDriftRun(tx, open.drift_run_id, 'forUpdate')) await abandon(tx, open, input.now);
  }
  const driftRunId = uuidv7();
  await tx.query(
    `insert into drift_runs (drift_run_id, marketplace, requested_by, state, created_at) values ($1, $2, $3, 'requested', $4)`,
    [driftRunId, input.marketplace, input.requestedBy, input.now],
  );
  return { driftRunId, fresh: true };
}

async function abandon(tx: Tx, run: DriftRunRow, now: Date): Promise<void> {
  await tx.query(
    `update drift_lines set verdict = 'unread', note = 'not read again in time', judged_at = $2 where drift_run_id = $1 and verdict = 'rereading'`,
    [run.drift_run_id, now],
  );
  await tx.query(
    `update drift_runs set state = case when state = 'requested' then 'failed' else 'completed' end, error = 'given up: a later run took over', completed_at = $2 where drift_run_id = $1`,
    [run.drift_run_id, now],
  );
}

/** A run that is not closed. Locked for whoever moves it; whoever judges a line leaves it alone. */
export async function unclosedDriftRun(tx: Tx, driftRunId: string, forUpdate?: 'forUpdate'): Promise<DriftRunRow | null> {
  const [row] = await tx.query<DriftRunRow>(
    `select * from drift_runs where drift_run_id = $1 and state in ('requested', 'rereading')${forUpdate ? ' for update' : ''}`,
    [driftRunId],
  );
  return row ?? null;
}

export interface Comparison {
  lines: DriftLine[];
  counts: { listed: number; agree: number; foreign: number; endedThere: number; differ: number };
}

/** The whole list against all purchases of ours. Changes nothing: what differs is only named, to be read again by id. */
export async function compareWithList(
  tx: Tx,
  catalog: Catalog,
  input: { marketplace: Marketplace; listed: Map<string, SubscriptionTruth>; now: Date; lagMs: number },
): Promise<Comparison> {
  const { marketplace, listed, now, lagMs } = input;
  const lines: DriftLine[] = [];
  const counts = { listed: listed.size, agree: 0, foreign: 0, endedThere: 0, differ: 0 };
  const differ = (line: Omit<DriftLine, 'verdict'>, changes: (Date | null)[]): void => {
    counts.differ += 1;
    lines.push({ ...line, verdict: isYoung(changes, now, lagMs) ? 'not_yet_visible' : 'rereading' });
  };
  const decided = await decidedChanges(tx, [...listed.values()]);
  const known = new Set<string>();
  for (const ours of await tx.manager.findBy(SubscriptionRecord, { marketplace })) {
    const { externalSubscriptionId, subscriptionId, state } = ours;
    known.add(externalSubscriptionId);
    const theirs = listed.get(externalSubscriptionId);
    const differences: DriftDifference[] = theirs ? differencesOf(ours, theirs) : isExpectedThere(state) ? ['missing_there'] : [];
    if (theirs?.pendingChange && !isOver(state) && !decided.has(`${subscriptionId}:${theirs.pendingChange.externalOperationId}`))
      differences.push('change');
    if (differences.length === 0) counts.agree += 1;
    else
      differ({ externalSubscriptionId, subscriptionId, differences, note: `ours ${state}, theirs ${theirs?.state ?? 'not listed'}` }, [
        ours.updatedAt,
        theirs ? changedThereAt(theirs) : null,
      ]);
  }
  const links = missingLinks(listed, (id) => known.has(id), await namesOfOurs(tx, marketplace, listed));
  for (const [externalSubscriptionId, theirs] of listed) {
    if (known.has(externalSubscriptionId)) continue;
    const line = { externalSubscriptionId, subscriptionId: null, differences: [], note: `${theirs.externalOfferId}, ${theirs.state}` };
    if (!(await catalog.knowsOffer(tx, marketplace, theirs.externalOfferId))) {
      counts.foreign += 1;
      lines.push({ ...line, verdict: 'foreign' });
    } else if ((theirs.state === 'ended' || theirs.state === 'voided') && !links.has(externalSubscriptionId)) {
      // It came and went without us: nothing was served, nothing can be.
      counts.endedThere += 1;
      lines.push({ ...line, verdict: 'ended_there' });
    } else {
      differ({ ...line, subscriptionId: subscriptionIdOf(marketplace, externalSubscriptionId), differences: ['missing_here'] }, [
        changedThereAt(theirs),
      ]);
    }
  }
  return { lines, counts };
}

/** Of the predecessors that the list names: those that are purchases of ours. */
async function namesOfOurs(tx: Tx, marketplace: Marketplace, listed: Map<string, SubscriptionTruth>): Promise<Set<string>> {
  const named = [...listed.values()].flatMap(({ supersedes }) => supersedes?.externalId ?? []);
  if (named.length === 0) return new Set();
  const rows = await tx.query<{ kind: string; external_id: string }>(
    'select kind, external_id from subscription_aliases where marketplace = $1 and external_id = any($2::text[])',
    [marketplace, named],
  );
  return new Set(rows.map((row) => nameOf({ kind: row.kind, externalId: row.external_id })));
}

/** Of the changes that wait there, those that were decided here, as `subscription id:operation id`. */
async function decidedChanges(tx: Tx, listed: SubscriptionTruth[]): Promise<Set<string>> {
  const waiting = listed.flatMap((t) => (t.pendingChange ? [t.pendingChange.externalOperationId] : []));
  if (waiting.length === 0) return new Set();
  const rows = await tx.query<{ key: string }>(
    `select subscription_id || ':' || external_operation_id as key from change_requests where external_operation_id = any($1::text[])`,
    [waiting],
  );
  return new Set(rows.map((r) => r.key));
}

/** What is left alone is journalled the first time only: a publisher's foreign offers are listed for ever. */
export async function storeComparison(tx: Tx, driftRunId: string, { lines, counts }: Comparison, now: Date): Promise<void> {
  await tx.query(
    `insert into drift_lines (drift_run_id, external_subscription_id, subscription_id, verdict, differences, note, judged_at)
     select $1, l.id, l.sub, l.verdict, array(select jsonb_array_elements_text(l.differences)), l.note, $3
       from jsonb_to_recordset($2::jsonb) as l(id text, sub uuid, verdict text, differences jsonb, note text)
      where not (l.verdict in ('foreign', 'ended_there')
            and exists (select 1 from drift_lines d where d.external_subscription_id = l.id and d.verdict = l.verdict))`,
    [
      driftRunId,
      JSON.stringify(
        lines.map((l) => ({
          id: l.externalSubscriptionId,
          sub: l.subscriptionId,
          verdict: l.verdict,
          differences: l.differences,
          note: l.note,
        })),
      ),
      now,
    ],
  );
  await tx.query(`update drift_runs set state = 'rereading', counts = $2, compared_at = $3 where drift_run_id = $1`, [
    driftRunId,
    JSON.stringify(counts),
    now,
  ]);
}

export async function closeDriftRun(
  tx: Tx,
  driftRunId: string,
  state: 'completed' | 'failed' | 'not_comparable',
  error: string | null,
  now: Date,
): Promise<void> {
  await tx.query(`update drift_runs set state = $2, error = $3, completed_at = $4 where drift_run_id = $1`, [
    driftRunId,
    state,
    error,
    now,
  ]);
}

/** A line that is still to be judged, locked until it is. Null: somebody has judged it, or its run was given up. */
export async function claimDriftLine(tx: Tx, driftRunId: string, externalSubscriptionId: string): Promise<DriftLineRow | null> {
  const [row] = await tx.query<DriftLineRow>(
    `select * from drift_lines where drift_run_id = $1 and external_subscription_id = $2 and verdict = 'rereading' for update`,
    [driftRunId, externalSubscriptionId],
  );
  return row ?? null;
}

/** Judges a claimed line. The run's row is not touched: its lines are judged side by side. */
export async function judgeDriftLine(
  tx: Tx,
  driftRunId: string,
  line: Pick<DriftLine, 'externalSubscriptionId' | 'verdict' | 'note'> & {
    differences?: DriftDifference[];
    subscriptionId?: string | null;
  },
  now: Date,
): Promise<void> {
  await tx.query(
    `update drift_lines set verdict = $3, note = $4, differences = coalesce($5, differences), subscription_id = coalesce($6, subscription_id), judged_at = $7
      where drift_run_id = $1 and external_subscription_id = $2`,
    [driftRunId, line.externalSubscriptionId, line.verdict, line.note, line.differences ?? null, line.subscriptionId ?? null, now],
  );
}

/** Closes a run that has no line left; true for the one that did. Not for whoever judges: two last ones do not see each other's. */
export async function closeIfThrough(tx: Tx, driftRunId: string, now: Date): Promise<boolean> {
  const closed = await tx.query(
    `update drift_runs r set state = 'completed', completed_at = $2
      where drift_run_id = $1 and state = 'rereading'
        and not exists (select 1 from drift_lines l where l.drift_run_id = $1 and l.verdict = 'rereading') returning 1`,
    [driftRunId, now],
  );
  return closed.length > 0;
}

export async function getDriftRun(
  tx: Tx,
  driftRunId: string,
): Promise<(DriftRunRow & { lines: DriftLineRow[]; verdicts: Record<string, number> }) | null> {
  const [run] = await tx.query<DriftRunRow>('select * from drift_runs where drift_run_id = $1', [driftRunId]);
  if (!run) return null;
  // Thousands of foreign purchases would hide the few lines that matter: those come first.
  const lines = await tx.query<DriftLineRow>(
    `select * from drift_lines where drift_run_id = $1 order by verdict in ('foreign', 'ended_there'), external_subscription_id limit 1000`,
    [driftRunId],
  );
  const totals = await tx.query<{ verdict: string; n: number }>(
    'select verdict, count(*)::int as n from drift_lines where drift_run_id = $1 group by 1 order by 1',
    [driftRunId],
  );
  return { ...run, lines, verdicts: Object.fromEntries(totals.map((t) => [t.verdict, t.n])) };
}

/** Newest first. */
export async function listDriftRuns(tx: Tx, marketplace: Marketplace, q: PageQuery): Promise<Page<DriftRunRow>> {
  const rows = await tx.query<DriftRunRow>(
    'select * from drift_runs where marketplace = $1 and ($2::uuid is null or drift_run_id < $2) order by drift_run_id desc limit $3',
    [marketplace, q.after, q.limit + 1],
  );
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.drift_run_id : null };
}

export async function lastDriftRunAt(tx: Tx, marketplace: Marketplace): Promise<Date | null> {
  const [row] = await tx.query<{ at: Date | null }>('select max(created_at) as at from drift_runs where marketplace = $1', [marketplace]);
  return row?.at ?? null;
}

/** The newest completed run after an instant that found nothing wrong with a purchase; null where there is none. */
export async function agreeingDriftRun(
  tx: Tx,
  q: { marketplace: string; subscriptionId: string; after: Date },
): Promise<{ driftRunId: string } | null> {
  const [run] = await tx.query<{ drift_run_id: string }>(
    `select r.drift_run_id from drift_runs r where r.state = 'completed' and r.error is null and r.marketplace = $1 and r.created_at > $3
        and not exists (select 1 from drift_lines l where l.drift_run_id = r.drift_run_id and l.subscription_id = $2 and l.verdict in ('missing_there', 'differs', 'unread', 'rereading'))
      order by r.created_at desc limit 1`,
    [q.marketplace, q.subscriptionId, q.after],
  );
  return run ? { driftRunId: run.drift_run_id } : null;
}
