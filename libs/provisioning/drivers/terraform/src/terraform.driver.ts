/** The port over Terraform or OpenTofu. Domain model and limits: README. */
import {
  assertClusterRef,
  assertConfiguration,
  assertDeleteConfirmed,
  assertVersion,
  DriverError,
  OperationBook,
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
  type Steps,
  type SuspendOutcome,
  type SuspendRequest,
  type ValidationReport,
} from '#provisioning/core';
import { capabilitiesOf, type TerraformDriverOptions } from './options.js';
import { assertManaged, settled } from './nodes.js';
import { observeCluster, takeInventory } from './observe.js';
import { PlannedAtOnce } from './planned-at-once.js';
import { Plans } from './plans.js';
import { preflight } from './preflight.js';
import { Runs, targetOf, type Target } from './runs.js';
import type { RecordedCluster } from './state/ports.js';

type Changing = Exclude<
  keyof ProvisioningDriver,
  'openProbe' | 'closeProbe' | 'preflight' | 'plan' | 'observe' | 'inventory' | 'capabilities'
>;

export class TerraformDriver implements ProvisioningDriver {
  private readonly book: OperationBook;
  private readonly runs: Runs;
  private readonly plans: Plans;
  private readonly can: DriverCapabilities;
  private readonly atOnce: PlannedAtOnce;

  constructor(private readonly options: TerraformDriverOptions) {
    this.book = new OperationBook(options.operations, options.clock);
    this.runs = new Runs(options);
    this.plans = new Plans(options.runs, options.clock);
    this.can = capabilitiesOf(options);
    this.atOnce = new PlannedAtOnce(options, this.runs, this.plans, this.can);
  }

  capabilities(): DriverCapabilities {
    return this.can;
  }

  async preflight(call: DriverCall, spec: ClusterSpec): Promise<DriverResult<PreflightReport>> {
    assertClusterRef(call.clusterRef);
    this.target(spec);
    return readResult(call.operationId, await preflight(call, spec, this.runs.binary, this.options));
  }

  async plan(call: DriverCall, spec: ClusterSpec): Promise<DriverResult<DriverPlan>> {
    assertClusterRef(call.clusterRef);
    const target = this.target(spec);
    await this.runs.binary.find();
    return this.book.read(call, 'plan', spec, async (steps) => {
      const recorded = await this.options.runs.recorded(call.clusterRef);
      const lost = await this.lostNodes(call, target, recorded);
      return steps.step('plan', () =>
        this.runs.read(
          call,
          target,
          steps,
          async (workspace) => (await this.plans.make(call, target, workspace, recorded, { replace: lost })).plan,
        ),
      );
    });
  }

  async apply(call: DriverCall, request: ApplyRequest): Promise<DriverResult<ApplyOutcome>> {
    const prepare = async () => {
      const recorded = await this.options.runs.recorded(call.clusterRef);
      assertManaged(recorded);
      return this.plans.approved(call, request, recorded);
    };
    return this.change(
      call,
      'apply',
      request,
      async () => void (await prepare()),
      async (steps) => {
        const { artefact, stored } = await prepare();
        const target = this.target(artefact.spec);
        return this.runs.write(call, target, steps, async (workspace, credentialId) => {
          await steps.step('apply', () => workspace.apply(stored.file, steps));
          const done = { spec: artefact.spec, nodes: artefact.nodes };
          const stateSerial = await steps.step('record', () => this.options.runs.complete(credentialId, done));
          return { stateSerial, nodes: artefact.nodes };
        });
      },
    );
  }

  async delete(call: DriverCall, request: DeleteRequest): Promise<DriverResult<DeleteOutcome>> {
    const { runs, nodes } = this.options;
    const refuse = async (): Promise<void> => {
      assertDeleteConfirmed(call.clusterRef, request.confirm);
      assertManaged(await runs.recorded(call.clusterRef));
    };
    return this.change(call, 'delete', request, refuse, async (steps) => {
      const recorded = await runs.recorded(call.clusterRef);
      if (recorded?.head && recorded.head.resources > 0) await this.atOnce.destroy(call, recorded, steps);
      // "Not found" is believed only after a sweep by label (contract provisioning §3.4): what no state knows goes too.
      return steps.step('sweep', async () => {
        const left = async () =>
          (await settled(steps, () => nodes.inventory(call))).items.filter((i) => i.clusterRef === call.clusterRef && i.state !== 'broken');
        if ((await left()).length > 0) await settled(steps, () => nodes.delete(call, request));
        return { survivors: await left() };
      });
    });
  }

  configure(call: DriverCall, desired: DesiredConfiguration): Promise<DriverResult<ConfigureOutcome>> {
    const refuse = async (): Promise<void> => {
      assertConfiguration(desired, this.can.maxPlacements);
      await this.must(call);
    };
    return this.atNodes(call, 'configure', { desired, generation: call.generation }, refuse, () =>
      this.options.nodes.configure(call, desired),
    );
  }

  validate(call: DriverCall): Promise<DriverResult<ValidationReport>> {
    return this.atNodes(
      call,
      'validate',
      {},
      () => this.must(call),
      () => this.options.nodes.validate(call),
    );
  }

  async openProbe(call: DriverCall, request: { readonly lifeMs: number }): Promise<DriverResult<ProbeAccess>> {
    await this.must(call);
    return this.options.nodes.openProbe(call, request);
  }

  closeProbe(call: DriverCall, request: { readonly accountName: string }): Promise<DriverResult> {
    return this.options.nodes.closeProbe(call, request);
  }

  suspend(call: DriverCall, request: SuspendRequest): Promise<DriverResult<SuspendOutcome>> {
    return this.atNodes(
      call,
      'suspend',
      request,
      () => this.must(call),
      () => this.options.nodes.suspend(call, request),
    );
  }

  resume(call: DriverCall, request: ResumeRequest): Promise<DriverResult> {
    return this.atNodes(
      call,
      'resume',
      request,
      () => this.must(call),
      () => this.options.nodes.resume(call, request),
    );
  }

  /** A version is part of the spec: the plan that changes only that is made, must lose nothing, and is applied at once. */
  upgrade(call: DriverCall, request: { readonly version: string }): Promise<DriverResult> {
    const refuse = async (): Promise<void> => {
      assertVersion(request.version, this.can);
      await this.must(call);
    };
    return this.change(call, 'upgrade', request, refuse, async (steps) => {
      await this.atOnce.upgrade(call, request.version, steps);
      await steps.step('verify', async () => {
        const runsNow = (await this.options.nodes.observe(call)).output?.version;
        if (runsNow !== request.version)
          throw new DriverError('unknown', 'upgrade.not_in_force', `The nodes run ${runsNow ?? 'nothing'}, not ${request.version}.`);
      });
      return undefined;
    });
  }

  async observe(call: DriverCall): Promise<DriverResult<ClusterObservation>> {
    assertClusterRef(call.clusterRef);
    return readResult(call.operationId, await observeCluster(call, this.options));
  }

  async inventory(call: FleetCall): Promise<DriverResult<InventoryReport>> {
    return readResult(call.operationId, await takeInventory(call, this.options));
  }

  /** Takes up what `inventory` found: its label first, then a state of its own, by a plan that makes and loses nothing. */
  import(call: DriverCall, request: { readonly externalId: string }): Promise<DriverResult> {
    return this.change(
      call,
      'import',
      request,
      () => undefined,
      async (steps) => {
        await steps.step('adopt', () => settled(steps, () => this.options.nodes.import(call, request)));
        await this.atOnce.adopt(call, request.externalId, steps);
        return undefined;
      },
    );
  }

  release(call: DriverCall): Promise<DriverResult> {
    const { runs, nodes } = this.options;
    return this.change(
      call,
      'release',
      {},
      () => this.must(call),
      async (steps) => {
        await steps.step('let_go', () => settled(steps, () => nodes.release(call)));
        await runs.setManaged(call.clusterRef, false);
        return undefined;
      },
    );
  }

  async cancel(call: DriverCall, handle: string): Promise<DriverResult> {
    await this.runs.carry(call, handle);
    return this.told(handle, await this.book.cancel(call, handle));
  }

  /** Waits until nothing runs here any more. */
  idle(): Promise<void> {
    return this.book.idle();
  }

  private target(spec: ClusterSpec): Target {
    return targetOf(spec, this.options.modules, this.can);
  }

  /**
   * What the state says is there and nobody finds. A provider sees that in its refresh; for what has none we ask, so that the plan
   * tells the loss instead of "no changes".
   */
  private async lostNodes(call: DriverCall, { module }: Target, recorded: RecordedCluster | undefined): Promise<string[]> {
    if (!recorded?.managed || recorded.nodes.length === 0) return [];
    const observation = await this.options.nodes.observe(call);
    if (observation.output?.exists !== false) return [];
    return recorded.nodes.flatMap((node) => module.dataBearing.map((address) => `${address}[${JSON.stringify(node)}]`));
  }

  private async must(call: DriverCall): Promise<void> {
    const recorded = await this.options.runs.recorded(call.clusterRef);
    if (!recorded?.head || recorded.head.resources === 0)
      throw new DriverError('validation', 'cluster.not_found', `Terraform has built nothing for ${call.clusterRef}.`);
    assertManaged(recorded);
  }

  private atNodes<T>(
    call: DriverCall,
    method: Changing,
    input: unknown,
    refuse: () => Promise<void>,
    ask: () => Promise<DriverResult<T>>,
  ): Promise<DriverResult<T>> {
    return this.change(call, method, input, refuse, (steps) => steps.step(method, () => settled(steps, ask)));
  }

  private async change<T>(
    call: DriverCall,
    method: Changing,
    input: unknown,
    refuse: () => Promise<void> | void,
    work: (steps: Steps) => Promise<T>,
  ): Promise<DriverResult<T>> {
    // Before the fence rises: a run of this very operation must not be shut out by its own renewal.
    await this.runs.carry(call, call.operationId);
    return this.told(
      call.operationId,
      await this.book.run(call, method, input, refuse, (steps) => work(steps).finally(() => this.runs.forget(call.operationId))),
    );
  }

  /** Who hears the end asks no more. */
  private told<T extends { readonly phase: string }>(operationId: string, result: T): T {
    if (result.phase !== 'running') this.runs.forget(operationId);
    return result;
  }
}
