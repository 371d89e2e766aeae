import { ProblemError, toPublicId, uuidv7, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';

/** What a run can compare, in the order in which it does. */
export const RECONCILIATION_KINDS = ['sum_law', 'placements', 'read_back', 'usage_report', 'subscriptions'] as const;
export type ReconciliationKind = (typeof RECONCILIATION_KINDS)[number];
export type RunVia = 'schedule' | 'api' | 'command';

/** A run that has not got on for so long (business time) hangs: a later one takes its place. */
const GIVEN_UP_AFTER_MS = 2 * 3_600_000;

export interface RunRow extends Record<string, unknown> {
  run_id: string;
  kinds: ReconciliationKind[];
  marketplace: Marketplace | null;
  from_at: Date;
  to_at: Date;
  requested_by: string;
  requested_via: RunVia;
  state: 'queued' | 'running' | 'done' | 'failed';
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
}
export interface StepRow extends Record<string, unknown> {
  run_id: string;
  step: number;
  kind: ReconciliationKind;
  /** Null where the comparison is about no one marketplace. */
  marketplace: Marketplace | null;
  state: 'waiting' | 'running' | 'done' | 'failed' | 'not_comparable';
  /** The comparison with a marketplace or the drift run that holds the lines. */
  reference: string | null;
  position: string | null;
  started_at: Date | null;
  finished_at: Date | null;
  reason: string | null;
  /** Rows looked at; each is agreed, differing, not yet to be judged, or another kit's (shadow). */
  compared: number;
  agreed: number;
  differing: number;
  not_yet_visible: number;
  opened: number;
  closed: number;
}
export type StepCounts = Pick<StepRow, 'compared' | 'agreed' | 'differing' | 'not_yet_visible' | 'opened' | 'closed'>;

export interface NewRun {
  kinds: readonly ReconciliationKind[];
  marketplace: Marketplace | null;
  from: Date;
  to: Date;
  /** The key's holder, or `schedule`. */
  requestedBy: string;
  via: RunVia;
}
export interface NewStep {
  kind: ReconciliationKind;
  marketplace: Marketplace | null;
  reference: string | null;
  /** Why there is nothing to compare with; then the step is over at once. */
  notComparable?: string;
}

/** Whoever books runs, or looks whether one goes on to book another, goes one after the other until its transaction ends. */
export async function lockRuns(tx: Tx): Promise<void> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205318))', ['reconciliation']);
}

/**
 * Refuses (`reconciliation.under_way`) where any of these comparisons goes on already: no comparison goes on twice side by side. To
 * be called before the comparisons themselves are booked; holds a lock until the transaction ends.
 */
export async function refuseSideBySide(tx: Tx, wanted: readonly Pick<NewStep, 'kind' | 'marketplace'>[], now: Date): Promise<void> {
  await lockRuns(tx);
  const stale = new Date(now.getTime() - GIVEN_UP_AFTER_MS);
  // Whoever holds both, here as everywhere below, holds a run before its steps.
  const hung = await tx.query<{ run_id: string }>(
    `update reconciliation_runs set state = 'failed', finished_at = $2 where finished_at is null and touched_at < $1 returning run_id`,
    [stale, now],
  );
  await tx.query(
    `update reconciliation_steps set state = 'failed', reason = 'given up: it did not get on for two hours', finished_at = $2
      where run_id = any($1::uuid[]) and finished_at is null`,
    [hung.map((r) => r.run_id), now],
  );
  const [open] = await tx.query<{ run_id: string; kind: string }>(
    `select s.run_id, s.kind from reconciliation_steps s
       join jsonb_to_recordset($1::jsonb) as w(kind text, marketplace text) on w.kind = s.kind and (w.marketplace is null or s.marketplace is null or w.marketplace = s.marketplace)
      where s.finished_at is null limit 1`,
    [JSON.stringify(wanted.map(({ kind, marketplace }) => ({ kind, marketplace })))],
  );
  if (open)
    throw new ProblemError(
      'conflict',
      'reconciliation.under_way',
      `Run ${toPublicId('rcn', open.run_id)} compares ${open.kind} now. Wait for it, then ask again.`,
    );
}

export async function insertRun(tx: Tx, run: NewRun, steps: readonly NewStep[], now: Date): Promise<string> {
  const runId = uuidv7();
  await tx.query(
    `insert into reconciliation_runs (run_id, kinds, marketplace, from_at, to_at, requested_by, requested_via, state, created_at, touched_at)
     values ($1, $2, $3, $4, $5, $6, $7, 'queued', $8, $8)`,
    [runId, run.kinds, run.marketplace, run.from, run.to, run.requestedBy, run.via, now],
  );
  await tx.query(
    `insert into reconciliation_steps (run_id, step, kind, marketplace, state, reference, reason, finished_at)
     select $2, s.step, s.kind, s.marketplace, case when s.reason is null then 'waiting' else 'not_comparable' end, s.reference, s.reason, case when s.reason is not null then $3::timestamptz end
       from jsonb_to_recordset($1::jsonb) as s(step int, kind text, marketplace text, reference uuid, reason text)`,
    [JSON.stringify(steps.map(({ notComparable, ...s }, i) => ({ ...s, step: i + 1, reason: notComparable ?? null }))), runId, now],
  );
  return runId;
}

/** The open run with its next open step, which begins; step null where all are over, then the run is closed. Null: it is over. */
export async function beginStep(tx: Tx, runId: string, now: Date): Promise<{ run: RunRow; step: StepRow | null } | null> {
  const [run] = await tx.query<RunRow>('select * from reconciliation_runs where run_id = $1 and finished_at is null for update', [runId]);
  if (!run) return null;
  const [step] = await tx.query<StepRow>(
    `update reconciliation_steps set state = 'running', started_at = coalesce(started_at, $2) where run_id = $1
        and step = (select min(step) from reconciliation_steps where run_id = $1 and finished_at is null) returning *`,
    [runId, now],
  );
  await tx.query(
    `update reconciliation_runs set started_at = coalesce(started_at, $2), touched_at = $2, finished_at = case when $3 then $2::timestamptz end,
            state = case when not $3 then 'running' when exists (select 1 from reconciliation_steps where run_id = $1 and state = 'failed') then 'failed' else 'done' end
      where run_id = $1`,
    [runId, now, step === undefined],
  );
  return { run, step: step ?? null };
}

/** How far a step has come; what is counted is added. Without an end it goes on. False where the step is over already. */
export async function advanceStep(
  tx: Tx,
  step: Pick<StepRow, 'run_id' | 'step'>,
  gone: Partial<StepCounts> & { position?: string | null; end?: { state: 'done' | 'failed' | 'not_comparable'; reason?: string | null } },
  now: Date,
): Promise<boolean> {
  const { end } = gone;
  await tx.query('update reconciliation_runs set touched_at = $2 where run_id = $1', [step.run_id, now]);
  const rows = await tx.query(
    `update reconciliation_steps set compared = compared + $3, agreed = agreed + $4, differing = differing + $5, not_yet_visible = not_yet_visible + $6,
            opened = opened + $7, closed = closed + $8, position = coalesce($9, position), state = coalesce($10, state), reason = coalesce($11, reason),
            finished_at = case when $10::text is not null then $12::timestamptz end
      where run_id = $1 and step = $2 and finished_at is null returning 1`,
    [
      step.run_id,
      step.step,
      gone.compared ?? 0,
      gone.agreed ?? 0,
      gone.differing ?? 0,
      gone.not_yet_visible ?? 0,
      gone.opened ?? 0,
      gone.closed ?? 0,
      gone.position ?? null,
      end?.state ?? null,
      end?.reason?.slice(0, 1_000) ?? null,
      now,
    ],
  );
  return rows.length > 0;
}

/** Newest first, each with its steps. */
export async function listRuns(
  tx: Tx,
  q: { limit: number; after: string | null; runId?: string },
): Promise<{ items: (RunRow & { steps: StepRow[] })[]; nextCursor: string | null }> {
  const rows = await tx.query<RunRow>(
    `select * from reconciliation_runs where ($1::uuid is null or run_id < $1) and ($3::uuid is null or run_id = $3) order by run_id desc limit $2`,
    [q.after, q.limit + 1, q.runId ?? null],
  );
  const items = rows.slice(0, q.limit);
  const steps = await tx.query<StepRow>('select * from reconciliation_steps where run_id = any($1::uuid[]) order by run_id, step', [
    items.map((r) => r.run_id),
  ]);
  return {
    items: items.map((r) => ({ ...r, steps: steps.filter((s) => s.run_id === r.run_id) })),
    nextCursor: rows.length > q.limit ? items.at(-1)!.run_id : null,
  };
}

export interface RunLineRow extends Record<string, unknown> {
  step: number;
  kind: ReconciliationKind;
  marketplace: Marketplace;
  line: number;
  period_start: Date;
  period_end: Date;
  external_subscription_id: string;
  subscription_id: string | null;
  external_plan_id: string;
  dimension: string;
  ours: string;
  theirs: string | null;
  our_count: number;
  their_count: number | null;
  verdict: string;
  /** Nothing was sent by us, or not all of it: compared with what another kit sent. */
  shadow: boolean;
  /** Several purchases that the report cannot tell apart. */
  by_sum: boolean;
}
/** What a marketplace said, line by line at its own grain, of all comparisons of a run; `after` is `step:line`. */
export async function listRunLines(
  tx: Tx,
  q: { runId: string; limit: number; after: string | null; verdict?: string },
): Promise<{ items: RunLineRow[]; nextCursor: string | null }> {
  const after = q.after === null ? [0, 0] : (/^(\d{1,6}):(\d{1,9})$/.exec(q.after)?.slice(1).map(Number) ?? null);
  if (!after) throw new ProblemError('validation', 'request.cursor_invalid', 'This cursor was not issued by this list.');
  const rows = await tx.query<RunLineRow>(
    `select s.step, s.kind, s.marketplace, l.line, l.period_start, l.period_end, l.external_subscription_id, l.subscription_id, l.external_plan_id, l.dimension,
            l.ours::text, l.theirs::text, l.our_count, l.their_count, l.verdict, l.shadow, l.by_sum
       from reconciliation_steps s join reconciliation_lines l on l.reconciliation_id = s.reference
      where s.run_id = $1 and (s.step, l.line) > ($2, $3) and ($4::text is null or l.verdict = $4) order by s.step, l.line limit $5`,
    [q.runId, ...after, q.verdict ?? null, q.limit + 1],
  );
  const items = rows.slice(0, q.limit);
  const last = items.at(-1);
  return { items, nextCursor: rows.length > q.limit && last ? `${last.step}:${last.line}` : null };
}

/** The comparison of this kind that goes on at a marketplace, with its run; null where none does. Locked. */
export async function openStepOf(
  tx: Tx,
  kind: ReconciliationKind,
  marketplace: Marketplace,
): Promise<{ run: RunRow; step: StepRow } | null> {
  const [run] = await tx.query<RunRow>(
    `select * from reconciliation_runs
      where run_id = (select run_id from reconciliation_steps where kind = $1 and marketplace = $2 and finished_at is null) for update`,
    [kind, marketplace],
  );
  if (!run) return null;
  // It may have ended while we waited for its run.
  const [step] = await tx.query<StepRow>(
    'select * from reconciliation_steps where run_id = $1 and kind = $2 and marketplace = $3 and finished_at is null for update',
    [run.run_id, kind, marketplace],
  );
  return step ? { run, step } : null;
}

/**
 * Deletes runs that ended before `before`, with their steps and what a marketplace said in them line by line, at most `most`; answers
 * how many. Those stay that an open finding names, and the newest success of each comparison, by which health is told.
 */
export async function pruneRuns(tx: Tx, before: Date, most: number): Promise<number> {
  const gone = await tx.query<{ run_id: string }>(
    `select r.run_id from reconciliation_runs r
      where r.finished_at < $1
        and not exists (select 1 from findings f where f.settlement is null and f.evidence ->> 'runId' = r.run_id::text)
        and not exists (select 1 from reconciliation_steps s join findings f on f.settlement is null and f.evidence ->> 'reconciliationId' = s.reference::text where s.run_id = r.run_id)
        and not exists (select 1 from reconciliation_steps s where s.run_id = r.run_id and s.state = 'done' and not exists (
              select 1 from reconciliation_steps n where n.kind = s.kind and n.marketplace is not distinct from s.marketplace and n.state = 'done' and n.finished_at > s.finished_at))
      order by r.finished_at limit $2`,
    [before, most],
  );
  const runIds = gone.map((r) => r.run_id);
  if (runIds.length === 0) return 0;
  const steps = await tx.query<{ reference: string | null }>(
    'delete from reconciliation_steps where run_id = any($1::uuid[]) returning reference',
    [runIds],
  );
  const references = steps.flatMap((s) => s.reference ?? []);
  await tx.query('delete from reconciliation_lines where reconciliation_id = any($1::uuid[])', [references]);
  await tx.query('delete from reconciliations where reconciliation_id = any($1::uuid[])', [references]);
  await tx.query('delete from reconciliation_runs where run_id = any($1::uuid[])', [runIds]);
  return runIds.length;
}

/** Of each comparison that the schedule makes: whether its newest end, whoever asked, was a failure, and when it last succeeded. */
export function scheduledHealth(
  tx: Tx,
): Promise<{ kind: ReconciliationKind; marketplace: Marketplace | null; failed: boolean; succeeded_at: Date | null }[]> {
  return tx.query(
    `select s.kind, s.marketplace, (array_agg(s.state order by s.finished_at desc))[1] = 'failed' as failed, max(s.finished_at) filter (where s.state = 'done') as succeeded_at
       from reconciliation_steps s join reconciliation_runs r using (run_id)
      where s.state in ('done', 'failed') and s.finished_at > (select max(finished_at) from reconciliation_steps) - interval '7 days'
      group by 1, 2 having bool_or(r.requested_via = 'schedule')`,
  );
}
