/** The five calls of a reconciliation: what is asked, and which state follows from the answer. */
import { realNow, type Tx } from '#platform';
import {
  DriverError,
  type ApplyOutcome,
  type DesiredConfiguration,
  type DriverPlan,
  type PlanApproval,
  type PreflightReport,
  type ValidationReport,
} from '#provisioning/core';
import { placementsOn, updateCluster, type ClusterRow } from '../infra/rows.js';
import { stepPurpose, type EngineContext } from './context.js';
import { openKeys } from './credentials.js';
import { move } from './move.js';
import { approvalOf, approvalOver, backToApproval, closePlan } from './plan-approval.js';
import { applyConfigured, promoteProved, waitsForProof } from './placement-outcomes.js';
import type { Step } from './step.js';
import { sweep, type SweptOutcome } from './sweep-purged.js';

export function preflightStep(ctx: EngineContext): Step<PreflightReport> {
  return {
    name: 'preflight',
    awaited: 'the checks before anything is built',
    intent: async (_tx, cluster) => ({ spec: cluster.desired }),
    ask: (driver, call, intent) => driver.preflight(call, intent['spec'] as ClusterRow['desired']),
    record: (report) => report,
    async done(tx, cluster, report) {
      // Tri-state: `unknown` is neither a pass nor a fail (contract provisioning §3.4).
      const unknown = !report.ok && report.checks.every((c) => c.result !== 'fail');
      await updateCluster(
        tx,
        cluster.cluster_id,
        {
          recorded: {
            ...cluster.recorded,
            unchecked: unknown ? (cluster.recorded.unchecked ?? 0) + 1 : 0,
            preflight: { ...report, at: ctx.clock.now().toISOString() },
          },
        },
        ctx.clock.now(),
      );
    },
  };
}

export function planStep(ctx: EngineContext): Step<DriverPlan> {
  return {
    name: 'plan',
    awaited: 'the plan',
    intent: async (_tx, cluster) => ({ spec: cluster.desired }),
    ask: (driver, call, intent) => driver.plan(call, intent['spec'] as ClusterRow['desired']),
    record: ({ artefact: _artefact, ...facts }) => facts,
    done: (tx, cluster, plan) => move(ctx, tx, cluster, 'plan_stored', { plan, cost: plan.cost }),
  };
}

export function applyStep(ctx: EngineContext): Step<ApplyOutcome> {
  return {
    name: 'apply',
    changes: true,
    awaited: 'the cluster to be built',
    intent: async (tx, cluster) => ({ plan: cluster.recorded.plan, approval: await approvalOf(tx, cluster) }),
    ask: (driver, call, intent) => {
      const approval = intent['approval'] as PlanApproval | undefined;
      return driver.apply(call, { plan: intent['plan'] as DriverPlan, ...(approval ? { approval } : {}) });
    },
    // The serial moves with each apply, and we are the one writer: a higher one is our own effect.
    seen: (o, intent) =>
      o.exists && o.stateSerial > (intent['plan'] as DriverPlan).stateSerial
        ? { stateSerial: o.stateSerial, nodes: o.nodes.map((n) => n.name) }
        : undefined,
    record: (outcome) => outcome,
    async done(tx, cluster, outcome) {
      await closePlan(tx, cluster, 'applied');
      const { stateSerial } = outcome;
      const over = { ...approvalOver, plan: null, replans: 0, resize: undefined, cancel: undefined };
      await move(ctx, tx, cluster, 'applied', { ...over, stateSerial, validated: false });
    },
  };
}

export function configureStep(ctx: EngineContext): Step<SweptOutcome> {
  const desiredOf = (intent: Record<string, unknown>, stepId: string): DesiredConfiguration =>
    JSON.parse(ctx.sealer.open(intent['sealed'] as string, stepPurpose(stepId))) as DesiredConfiguration;
  return {
    name: 'configure',
    changes: true,
    awaited: 'access, limits and keys to be in force',
    // The list goes into the intent, sealed for its keys: asked again after a crash it is the very same call, so that the
    // last samples of its first effect are not lost.
    intent: async (tx, cluster, stepId) => {
      const list = await desiredConfiguration(ctx, tx, cluster.cluster_id);
      return {
        stepId,
        sealed: ctx.sealer.seal(JSON.stringify(list), stepPurpose(stepId)),
        sent: Object.fromEntries(list.placements.map((p) => [p.placementId, p.state])),
        purge: list.purge,
      };
    },
    ask: async (driver, call, intent) => sweep(driver, call, await driver.configure(call, desiredOf(intent, intent['stepId'] as string))),
    record: (outcome) => outcome,
    async done(tx, cluster, outcome, intent) {
      const generation = BigInt(intent['generation'] as number);
      await applyConfigured(
        ctx,
        tx,
        cluster,
        generation,
        { sent: intent['sent'] as Record<string, 'active' | 'suspended'>, purge: intent['purge'] as string[] },
        outcome,
      );
      const prove = cluster.recorded.validated !== true || (await waitsForProof(tx, cluster.cluster_id));
      const observedGeneration = generation.toString();
      if (!prove && cluster.recorded.approval) {
        await updateCluster(tx, cluster.cluster_id, { observed_generation: observedGeneration }, ctx.clock.now());
        return backToApproval(ctx, tx, cluster, {});
      }
      await move(ctx, tx, cluster, prove ? 'configured' : 'settled', {}, { observedGeneration });
    },
  };
}

export function validateStep(ctx: EngineContext): Step<ValidationReport> {
  return {
    name: 'validate',
    awaited: 'proof that the endpoint serves',
    intent: async () => ({ startedAt: realNow().toISOString() }),
    ask: (driver, call) => driver.validate(call),
    record: (report) => report,
    async done(tx, cluster, report) {
      if (report.result !== 'pass') {
        // Neither `fail` nor `unknown` promotes; a cluster may need minutes until it serves (contract provisioning §3.4).
        await updateCluster(
          tx,
          cluster.cluster_id,
          { recorded: { ...cluster.recorded, validated: false, unproved: (cluster.recorded.unproved ?? 0) + 1 } },
          ctx.clock.now(),
        );
        return;
      }
      await promoteProved(ctx, tx, cluster);
      const proved = { validated: true, unproved: 0, error: null };
      if (cluster.recorded.approval) return backToApproval(ctx, tx, cluster, proved);
      await move(ctx, tx, cluster, 'validated', proved);
    },
  };
}

/** Always the full list (contract provisioning §3.4: replace-all lists lost entries). */
async function desiredConfiguration(ctx: EngineContext, tx: Tx, clusterId: string): Promise<DesiredConfiguration> {
  const rows = await placementsOn(tx, clusterId, true);
  const listed = rows.filter((p) => p.phase !== 'failed' && (p.desired.state === 'active' || p.desired.state === 'suspended'));
  const keys = await openKeys(
    ctx,
    tx,
    listed.map((p) => p.placement_id),
  );
  return {
    placements: listed.map((p) => {
      const own = keys.get(p.placement_id);
      if (!own) throw new DriverError('validation', 'placement.without_key', `Placement ${p.placement_id} has no key.`);
      return {
        placementId: p.placement_id,
        accountName: p.account_name,
        keys: own,
        state: p.desired.state as 'active' | 'suspended',
        // What is opened for taking the data along takes no more of it.
        limits: { hardQuotaBytes: p.desired.readUntil ? '0' : p.desired.limits.hardQuotaBytes },
      };
    }),
    purge: rows.filter((p) => p.phase === 'purging').map((p) => p.placement_id),
  };
}
