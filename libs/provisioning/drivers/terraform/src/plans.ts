/** Plans: made, stored sealed with their hash, and found again for `apply`, which runs exactly what was stored. */
import { uuidv7, type Clock } from '#platform';
import {
  assertApplicable,
  canonicalJson,
  DriverError,
  planHash,
  sha256Hex,
  type ApplyRequest,
  type ClusterSpec,
  type DriverCall,
  type DriverPlan,
} from '#provisioning/core';
import { createHash } from 'node:crypto';
import type { Target } from './runs.js';
import type { RecordedCluster, RunStore, StoredPlan } from './state/ports.js';
import { summarise, type PlanSummary } from './run/plan-summary.js';
import type { Workspace } from './run/workspace.js';

const PLAN_MS = 24 * 3_600_000;

/** What the caller keeps: where the plan lies, its hash and what it does. No value of a variable or of the state. */
export interface Artefact {
  readonly planId: string;
  readonly planSha256: string;
  readonly module: string;
  readonly spec: ClusterSpec;
  readonly changes: PlanSummary['changes'];
  readonly nodes: readonly string[];
}

export interface MadePlan {
  readonly plan: DriverPlan;
  readonly stored: StoredPlan;
  readonly nodes: readonly string[];
}

export class Plans {
  constructor(
    private readonly runs: RunStore,
    private readonly clock: Clock,
  ) {}

  async make(
    call: DriverCall,
    target: Target,
    workspace: Workspace,
    recorded: RecordedCluster | undefined,
    options: { readonly destroy?: boolean; readonly replace?: readonly string[] } = {},
  ): Promise<MadePlan> {
    const { file, shown } = await workspace.plan(options);
    const summary = summarise(shown, target.module, recorded?.nodes ?? []);
    const planId = uuidv7();
    const content: Artefact = {
      planId,
      planSha256: sha256OfFile(file),
      module: target.module.name,
      spec: target.spec,
      changes: summary.changes,
      nodes: summary.nodes,
    };
    const artefact = canonicalJson(content);
    const stateSerial = recorded?.serial ?? 0;
    const stored: StoredPlan = {
      planId,
      clusterRef: call.clusterRef,
      sha256: content.planSha256,
      artefactSha256: sha256Hex(artefact),
      head: recorded?.head ? { lineage: recorded.head.lineage, serial: recorded.head.serial } : null,
      destroys: summary.destroys,
      expiresAt: new Date(this.clock.now().getTime() + PLAN_MS),
      file,
    };
    await this.runs.savePlan(stored);
    const { create, update, replace, destroys } = summary;
    return {
      stored,
      nodes: summary.nodes,
      plan: {
        hash: planHash(artefact, stateSerial),
        artefact,
        stateSerial,
        create,
        update,
        replace,
        delete: summary.delete,
        destructive: destroys.length > 0,
        destroys,
        cost: target.module.costOf(target.spec),
        expiresAt: stored.expiresAt.toISOString(),
      },
    };
  }

  /** The stored plan, once it is proven to be what the caller approved, and still fits what is there. */
  async approved(
    call: DriverCall,
    request: ApplyRequest,
    recorded: RecordedCluster | undefined,
  ): Promise<{ artefact: Artefact; stored: StoredPlan }> {
    const { plan } = request;
    const tampered = (why: string): DriverError => new DriverError('validation', 'plan.tampered', why);
    if (planHash(plan.artefact, plan.stateSerial) !== plan.hash) throw tampered('The hash is not that of the artefact.');
    const artefact = readArtefact(plan.artefact);
    const stored = artefact && (await this.runs.plan(artefact.planId));
    if (!stored) throw new DriverError('conflict', 'plan.expired', 'The plan is not kept any more; plan again.');
    if (stored.clusterRef !== call.clusterRef || stored.artefactSha256 !== sha256Hex(plan.artefact))
      throw tampered('The artefact is not the one that was given out with this plan.');
    assertWhole(stored);
    // What is destroyed is read from what we stored, never from the flags that the caller holds.
    const truth = {
      ...plan,
      destructive: stored.destroys.length > 0,
      destroys: stored.destroys,
      expiresAt: stored.expiresAt.toISOString(),
    };
    assertApplicable({ ...request, plan: truth }, recorded?.serial ?? 0, this.clock.now());
    const head = recorded?.head ?? null;
    if (head?.lineage !== stored.head?.lineage || head?.serial !== stored.head?.serial)
      throw new DriverError(
        'conflict',
        'plan.stale',
        'The state was written since the plan was made: by a run that did not come to its end.',
      );
    return { artefact, stored };
  }
}

/** The file is the one whose hash was approved. */
export function assertWhole(stored: StoredPlan): void {
  if (sha256OfFile(stored.file) !== stored.sha256)
    throw new DriverError('validation', 'plan.hash_mismatch', 'The stored plan file is not the one whose hash was approved.');
}

export const sha256OfFile = (file: Buffer): string => createHash('sha256').update(file).digest('hex');

function readArtefact(text: string): Artefact | undefined {
  try {
    const artefact = JSON.parse(text) as Partial<Artefact>;
    return typeof artefact.planId === 'string' ? (artefact as Artefact) : undefined;
  } catch {
    return undefined;
  }
}
