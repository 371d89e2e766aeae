/** The port over people: capacity is ordered, racked and handed over by sign-off; what was handed over is run by its site. README. */
import { uuidv5 } from '#platform';
import {
  assertApplicable,
  assertClusterRef,
  assertDeleteConfirmed,
  assertSpec,
  canonicalJson,
  DriverError,
  planHash,
  readResult,
  type ApplyOutcome,
  type ApplyRequest,
  type ClusterObservation,
  type ClusterSpec,
  type ConfigureOutcome,
  type DeleteOutcome,
  type DeleteRequest,
  type DesiredConfiguration,
  type DriverCall,
  type DriverCapabilities,
  type DriverPlan,
  type DriverResult,
  type FleetCall,
  type InventoryReport,
  type PreflightReport,
  type ProbeAccess,
  type ProvisioningDriver,
  type ResumeRequest,
  type SuspendOutcome,
  type SuspendRequest,
  type ValidationReport,
} from '#provisioning/core';
import { clusterOf, recordCluster, type ManualClusterRow, type OperationRow } from './infra/rows.js';
import { capabilitiesOf, ODM_STEPS, type ManualDriverOptions, type StepTemplates } from './options.js';
import { WorkBook } from './work-book.js';

/** A plan that people follow is good for longer than one for machines. */
const PLAN_MS = 30 * 86_400_000;
interface Artefact {
  readonly spec: ClusterSpec;
  readonly replace: boolean;
}

export class ManualDriver implements ProvisioningDriver {
  private readonly book: WorkBook;
  private readonly steps: StepTemplates;
  private readonly can: DriverCapabilities;

  constructor(private readonly options: ManualDriverOptions) {
    this.steps = options.steps ?? ODM_STEPS;
    this.book = new WorkBook(options.db, options.clock, options.lookEveryMs ?? 30_000);
    this.can = capabilitiesOf({ ...options, steps: this.steps });
  }

  capabilities(): DriverCapabilities {
    return this.can;
  }

  async preflight(call: DriverCall, spec: ClusterSpec): Promise<DriverResult<PreflightReport>> {
    assertClusterRef(call.clusterRef);
    assertSpec(spec, this.can);
    const result = await this.options.site.preflight(call, spec);
    if (!result.output) return result;
    const days = Math.ceil((this.can.leadHours ?? 0) / 24);
    const people = {
      name: 'people',
      result: 'warn',
      detail: `People build it: about ${days} days from the order to the hand-over.`,
    } as const;
    return { ...result, output: { ...result.output, checks: [...result.output.checks, people] } };
  }

  async plan(call: DriverCall, spec: ClusterSpec): Promise<DriverResult<DriverPlan>> {
    assertClusterRef(call.clusterRef);
    assertSpec(spec, this.can);
    const current = await this.recorded(call.clusterRef);
    const replace = replaces(current, spec);
    const changed = current?.spec != null && canonicalJson(current.spec) !== canonicalJson(spec);
    const artefact = canonicalJson({ spec, replace } satisfies Artefact);
    const stateSerial = current?.serial ?? 0;
    return readResult(call.operationId, {
      hash: planHash(artefact, stateSerial),
      artefact,
      stateSerial,
      create: current?.spec ? 0 : 1,
      update: changed && !replace ? 1 : 0,
      replace: replace ? 1 : 0,
      delete: 0,
      destructive: replace,
      destroys: replace ? [call.clusterRef] : [],
      cost: this.options.costOf?.(spec) ?? null,
      expiresAt: new Date(this.options.clock.now().getTime() + PLAN_MS).toISOString(),
    });
  }

  async apply(call: DriverCall, request: ApplyRequest): Promise<DriverResult<ApplyOutcome>> {
    assertClusterRef(call.clusterRef);
    await this.book.fence(call);
    const { plan } = request;
    const { spec } = JSON.parse(plan.artefact) as Artefact;
    const current = await this.recorded(call.clusterRef);
    return this.book.run<ApplyOutcome>(call, {
      method: 'apply',
      kind: current?.spec ? 'change' : 'build',
      spec,
      // Not the approval, nor what was made since: asked again it is the same call.
      input: { hash: plan.hash, approval: request.approval ?? null },
      steps: current?.spec ? this.steps.change : this.steps.build,
      refuse: () => {
        if (planHash(plan.artefact, plan.stateSerial) !== plan.hash)
          throw new DriverError('validation', 'plan.tampered', 'The hash is not that of the artefact.');
        assertSpec(spec, this.can);
        const lost = replaces(current, spec) ? [call.clusterRef] : [];
        const truth = { ...plan, destructive: lost.length > 0, destroys: lost };
        assertApplicable({ ...request, plan: truth }, current?.serial ?? 0, this.options.clock.now());
      },
      finish: (op) => this.putIntoService(call, op),
    });
  }

  async delete(call: DriverCall, request: DeleteRequest): Promise<DriverResult<DeleteOutcome>> {
    assertClusterRef(call.clusterRef);
    assertDeleteConfirmed(call.clusterRef, request.confirm);
    await this.book.fence(call);
    await this.book.supersede(call.clusterRef);
    // The site first: nobody wipes disks that serve. The same operation id is the same deletion there.
    const taken = await this.options.site.delete(call, request);
    if (taken.phase !== 'succeeded' || (taken.output?.survivors.length ?? 0) > 0) return taken;
    const current = await this.recorded(call.clusterRef);
    const asked = await this.book.known(call.operationId);
    if (!current?.spec && !asked) return taken;
    return this.book.run<DeleteOutcome>(call, {
      method: 'delete',
      kind: 'remove',
      spec: current?.spec ?? asked!.spec,
      input: request,
      steps: this.steps.remove,
      refuse: () => undefined,
      finish: async () => {
        await this.options.db.ops((tx) => recordCluster(tx, call.clusterRef, null, this.options.clock.now()));
        return { output: { survivors: [] } };
      },
    });
  }

  async upgrade(): Promise<DriverResult> {
    throw new DriverError('unsupported', 'upgrade.unsupported', 'A version is part of the spec: plan and apply it.');
  }
  async import(): Promise<DriverResult> {
    throw new DriverError('unsupported', 'import.unsupported', 'What people have built is handed over by their sign-off.');
  }

  async configure(call: DriverCall, desired: DesiredConfiguration): Promise<DriverResult<ConfigureOutcome>> {
    await this.book.fence(call);
    return this.options.site.configure(call, desired);
  }
  validate(call: DriverCall): Promise<DriverResult<ValidationReport>> {
    return this.options.site.validate(call);
  }
  suspend(call: DriverCall, request: SuspendRequest): Promise<DriverResult<SuspendOutcome>> {
    return this.options.site.suspend(call, request);
  }
  resume(call: DriverCall, request: ResumeRequest): Promise<DriverResult> {
    return this.options.site.resume(call, request);
  }
  openProbe(call: DriverCall, request: { readonly lifeMs: number }): Promise<DriverResult<ProbeAccess>> {
    return this.options.site.openProbe(call, request);
  }
  closeProbe(call: DriverCall, request: { readonly accountName: string }): Promise<DriverResult> {
    return this.options.site.closeProbe(call, request);
  }
  inventory(call: FleetCall): Promise<DriverResult<InventoryReport>> {
    return this.options.site.inventory(call);
  }
  release(call: DriverCall): Promise<DriverResult> {
    return this.options.site.release(call);
  }

  async observe(call: DriverCall): Promise<DriverResult<ClusterObservation>> {
    const result = await this.options.site.observe(call);
    if (!result.output) return result;
    const recorded = await this.recorded(call.clusterRef);
    return { ...result, output: { ...result.output, stateSerial: recorded?.serial ?? 0 } };
  }

  cancel(call: DriverCall, handle: string): Promise<DriverResult> {
    return this.book.cancel(call, handle);
  }

  /**
   * The people are through: the site takes it into service. Its plan is kept before it is applied, so that after a crash the very same
   * call is asked again; one that went stale is made anew without asking the people twice.
   */
  private async putIntoService(
    call: DriverCall,
    op: OperationRow,
  ): Promise<{ output: ApplyOutcome } | { error: NonNullable<DriverResult['error']>; final: boolean } | 'running'> {
    const { site, db, clock } = this.options;
    const sub = (what: string): DriverCall => ({ ...call, operationId: uuidv5('manual', op.operation_id, what, String(op.site_tries)) });
    let plan = op.site_plan;
    if (!plan) {
      const planned = await site.plan(sub('plan'), op.spec);
      if (planned.error) return { error: planned.error, final: false };
      if (!planned.output) return 'running';
      plan = planned.output;
      await this.keepPlan(op, plan, op.site_tries);
    }
    const approval = { planHash: plan.hash, names: plan.destroys };
    const done = await site.apply(sub('apply'), { plan, approval }).catch((thrown: unknown) => {
      if (thrown instanceof DriverError) return { phase: 'failed', error: thrown.toShape() } as const;
      throw thrown;
    });
    if (done.phase === 'succeeded') {
      const stateSerial = await db.ops((tx) => recordCluster(tx, call.clusterRef, op.spec, clock.now()));
      return { output: { stateSerial, nodes: done.output!.nodes } };
    }
    if (!done.error) return 'running';
    if (done.error.class === 'conflict') {
      await this.keepPlan(op, null, op.site_tries + 1);
      return 'running';
    }
    return { error: done.error, final: done.error.class !== 'throttled' && done.error.class !== 'unknown' };
  }

  private async keepPlan(op: OperationRow, plan: DriverPlan | null, tries: number): Promise<void> {
    await this.options.db.ops((tx) =>
      tx.query('update manual_operations set site_plan = $2, site_tries = $3 where operation_id = $1', [
        op.operation_id,
        plan && JSON.stringify(plan),
        tries,
      ]),
    );
  }

  private recorded(clusterRef: string): Promise<ManualClusterRow | undefined> {
    return this.options.db.ops((tx) => clusterOf(tx, clusterRef));
  }
}

/** Another region is other hardware: the data does not move with it. */
const replaces = (current: ManualClusterRow | undefined, spec: ClusterSpec): boolean =>
  current?.spec != null && current.spec.region !== spec.region;
