/** Plans that destroy data: they wait for a person who names what is lost (contract provisioning §4.2, "approval binds to the hash"). */
import { ProblemError, uuidv7, type Tx } from '#platform';
import type { DriverPlan, PlanApproval } from '#provisioning/core';
import { finishOperation, noteProgress, runningOn } from '../infra/operations.js';
import type { ClusterRow, Recorded, StoredError } from '../infra/rows.js';
import { enqueueReconcile, isBuilt, type EngineContext } from './context.js';
import { lockCluster } from './lock-cluster.js';
import { move } from './move.js';

export type PlanState = 'waiting' | 'approved' | 'applied' | 'rejected' | 'expired' | 'stale' | 'void';
type PlanEnd = Exclude<PlanState, 'waiting' | 'approved' | 'rejected'>;

/** What a plan does, without its artefact. */
export type PlanFacts = Omit<DriverPlan, 'artefact'>;

interface PlanRow {
  plan_id: string;
  cluster_id: string;
  operation_id: string;
  plan_hash: string;
  facts: PlanFacts;
  state: PlanState;
  requested_at: Date;
  expires_at: Date;
  decided_by: string | null;
  decided_at: Date | null;
  reason: string | null;
}

/** A plan that waits or waited for a decision, for operators. */
export interface PlanView extends PlanFacts {
  readonly operationId: string;
  readonly state: PlanState;
  readonly requestedAt: Date;
  readonly decidedBy: string | null;
  readonly decidedAt: Date | null;
  readonly reason: string | null;
}

export type PlanDecision = { readonly by: string; readonly reason: string } & (
  | {
      readonly decision: 'approve';
      /** Every name that the plan says is lost, once more. */
      readonly destroys: readonly string[];
    }
  | { readonly decision: 'reject' }
);

export const isDestructive = (plan: DriverPlan): boolean => plan.destructive || plan.destroys.length > 0;

/** Stores the plan for a person's decision; the cluster waits and goes on serving. */
export async function askForApproval(ctx: EngineContext, tx: Tx, cluster: ClusterRow, plan: DriverPlan): Promise<void> {
  const { artefact: _artefact, ...facts } = plan;
  const approval = { planId: uuidv7(), operationId: cluster.recorded.operationId! };
  await tx.query(
    `insert into cluster_plans (plan_id, cluster_id, operation_id, plan_hash, facts, state, requested_at, expires_at)
     values ($1, $2, $3, $4, $5, 'waiting', $6, $7)`,
    [
      approval.planId,
      cluster.cluster_id,
      approval.operationId,
      plan.hash,
      JSON.stringify(facts),
      ctx.clock.now(),
      new Date(plan.expiresAt),
    ],
  );
  await wait(ctx, tx, cluster, { approval });
  ctx.logger.warn({ cluster: cluster.name, plan: plan.hash, destroys: plan.destroys }, 'a plan destroys data; a person has to decide');
}

/** After another wish came into force: the plan that waited goes on waiting. */
export async function backToApproval(ctx: EngineContext, tx: Tx, cluster: ClusterRow, recorded: Partial<Recorded>): Promise<void> {
  const { operationId } = cluster.recorded.approval!;
  for (const op of await runningOn(tx, cluster.cluster_id))
    if (op.subject_kind === 'cluster' && op.operation_id !== operationId)
      await finishOperation(tx, ctx.clock.now(), op, 'succeeded', 'The wish is in force.');
  await wait(ctx, tx, cluster, recorded);
}

async function wait(ctx: EngineContext, tx: Tx, cluster: ClusterRow, recorded: Partial<Recorded>): Promise<void> {
  const approval = recorded.approval ?? cluster.recorded.approval!;
  await move(ctx, tx, cluster, 'await', { ...recorded, operationId: approval.operationId });
  await noteProgress(tx, ctx.clock.now(), cluster.cluster_id, {
    phase: 'approval',
    awaited: 'a decision of the operator',
    message: 'The plan waits for a decision.',
    detail: `The plan destroys ${cluster.recorded.plan!.destroys.join(', ')}.`,
  });
}

/**
 * What follows for a cluster that waits: its plan is executed or made anew (`moved`), given up (the error), another wish is served
 * first (`serve`), or nothing. A wish never waits for a decision.
 */
export async function followDecision(
  ctx: EngineContext,
  tx: Tx,
  cluster: ClusterRow,
): Promise<'moved' | 'serve' | 'rest' | Omit<StoredError, 'step'>> {
  const { approval } = cluster.recorded;
  if (!approval) throw new Error(`cluster ${cluster.name} awaits a decision without a plan`);
  const [row] = await tx.query<PlanRow>('select * from cluster_plans where plan_id = $1', [approval.planId]);
  if (row!.state === 'rejected') return { class: 'permission', code: 'plan.rejected', detail: `It was rejected: ${row!.reason}` };
  if (row!.expires_at <= ctx.clock.now()) {
    await closePlan(tx, cluster, 'expired');
    await move(ctx, tx, cluster, 'replan', { ...approvalOver, plan: null, replans: 0, unchecked: 0 });
    return 'moved';
  }
  if (row!.state === 'approved') {
    await move(ctx, tx, cluster, 'approved');
    return 'moved';
  }
  return isBuilt(cluster) && BigInt(cluster.generation) > BigInt(cluster.observed_generation) ? 'serve' : 'rest';
}

/** The consent that travels with the plan; undefined when there is none that still holds. */
export async function approvalOf(tx: Tx, cluster: ClusterRow): Promise<PlanApproval | undefined> {
  if (!cluster.recorded.approval) return undefined;
  const [row] = await tx.query<PlanRow>(`select * from cluster_plans where plan_id = $1 and state = 'approved'`, [
    cluster.recorded.approval.planId,
  ]);
  return row && { planHash: row.plan_hash, names: row.facts.destroys };
}

export const approvalOver = { approval: undefined } as const satisfies Partial<Recorded>;

/** Ends what waits or was approved; the caller takes it out of `recorded`. */
export async function closePlan(tx: Tx, cluster: Pick<ClusterRow, 'recorded'>, state: PlanEnd): Promise<void> {
  const { approval } = cluster.recorded;
  if (approval)
    await tx.query(`update cluster_plans set state = $2 where plan_id = $1 and state in ('waiting', 'approved')`, [approval.planId, state]);
}

/**
 * A person's decision. The names are typed once more, and the hash is the plan's own: an approval of what was planned before is none.
 * `plan.unknown`, `plan.in_state`, `plan.expired`, `plan.not_confirmed`. The same decision twice is one.
 */
export async function decidePlan(ctx: EngineContext, tx: Tx, clusterId: string, hash: string, wish: PlanDecision): Promise<PlanView> {
  const cluster = await lockCluster(tx, clusterId);
  const [row] = await tx.query<PlanRow>(
    'select * from cluster_plans where cluster_id = $1 and plan_hash = $2 order by plan_id desc limit 1 for update',
    [clusterId, hash],
  );
  if (!row) throw new ProblemError('not_found', 'plan.unknown', 'No plan of this cluster that destroys data has this hash.');
  const state = wish.decision === 'approve' ? 'approved' : 'rejected';
  const now = ctx.clock.now();
  if (row.state !== 'waiting' && row.state !== state)
    throw new ProblemError('conflict', 'plan.in_state', `The plan is ${row.state}.`, { state: row.state });
  if (row.state === 'waiting' && row.expires_at <= now)
    throw new ProblemError('conflict', 'plan.expired', 'The plan has expired. It is made anew, and needs a new decision.');
  if (wish.decision === 'approve') {
    const typed = new Set(wish.destroys);
    const all = typed.size === row.facts.destroys.length && row.facts.destroys.every((name) => typed.has(name));
    if (!all)
      throw new ProblemError('unprocessable', 'plan.not_confirmed', `Name what is lost: ${row.facts.destroys.join(', ')}.`, {
        destroys: row.facts.destroys,
      });
  }
  if (row.state === state) return planView(row);
  const [decided] = await tx.query<PlanRow>(
    'update cluster_plans set state = $2, decided_by = $3, decided_at = $4, reason = $5 where plan_id = $1 returning *',
    [row.plan_id, state, wish.by, now, wish.reason],
  );
  await enqueueReconcile(ctx, tx, cluster.cluster_id);
  return planView(decided!);
}

/** For the supervisor: clusters whose plan has run out undecided or unexecuted. */
export async function expiredApprovals(ctx: EngineContext, tx: Tx): Promise<string[]> {
  const rows = await tx.query<{ cluster_id: string }>(
    `select p.cluster_id from cluster_plans p join clusters c using (cluster_id)
      where p.state in ('waiting', 'approved') and p.expires_at <= $1 and c.phase = 'approval'`,
    [ctx.clock.now()],
  );
  return rows.map((r) => r.cluster_id);
}

/** The newest first. */
export async function listPlans(tx: Tx, clusterId: string): Promise<PlanView[]> {
  const rows = await tx.query<PlanRow>('select * from cluster_plans where cluster_id = $1 order by plan_id desc limit 100', [clusterId]);
  return rows.map(planView);
}

/** A plan that waits or is being executed, as the cluster's own row tells of it. */
export function openPlanOf({ recorded }: Pick<ClusterRow, 'recorded'>): (PlanFacts & { readonly operationId: string }) | null {
  if (!recorded.approval || !recorded.plan) return null;
  const { artefact: _artefact, ...facts } = recorded.plan;
  return { ...facts, operationId: recorded.approval.operationId };
}

const planView = (r: PlanRow): PlanView => ({
  ...r.facts,
  operationId: r.operation_id,
  state: r.state,
  requestedAt: r.requested_at,
  decidedBy: r.decided_by,
  decidedAt: r.decided_at,
  reason: r.reason,
});
