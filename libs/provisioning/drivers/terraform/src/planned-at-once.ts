import { DriverError, type DriverCall, type DriverCapabilities, type Steps } from '#provisioning/core';
import { smallestSpec } from './modules.js';
import type { TerraformDriverOptions } from './options.js';
import type { Plans } from './plans.js';
import { targetOf, type Runs } from './runs.js';
import type { RecordedCluster } from './state/ports.js';

/** Changes whose plan nobody has to approve: it is made and applied in one run, and refused where it would lose what it must not. */
export class PlannedAtOnce {
  constructor(
    private readonly options: TerraformDriverOptions,
    private readonly runs: Runs,
    private readonly plans: Plans,
    private readonly can: DriverCapabilities,
  ) {}

  /** `cluster.not_built` (validation) where there is no spec to change, `plan.not_approved` (permission) where it would destroy something. */
  async upgrade(call: DriverCall, version: string, steps: Steps): Promise<void> {
    const { runs, modules } = this.options;
    const recorded = await runs.recorded(call.clusterRef);
    if (!recorded?.spec) throw new DriverError('validation', 'cluster.not_built', `${call.clusterRef} was never built to its end.`);
    const spec = { ...recorded.spec, version };
    const target = targetOf(spec, modules, this.can);
    await this.runs.write(call, target, steps, async (workspace, credentialId) => {
      const { plan, stored, nodes } = await steps.step('plan', () => this.plans.make(call, target, workspace, recorded));
      if (plan.destructive)
        throw new DriverError('permission', 'plan.not_approved', `An upgrade may destroy nothing: ${plan.destroys.join(', ')}.`);
      await steps.step('apply', () => workspace.apply(stored.file, steps));
      await steps.step('record', () => runs.complete(credentialId, { spec, nodes }));
    });
  }

  /** A state of its own for nodes that carry our label; nothing is done where there is one already. */
  async adopt(call: DriverCall, externalId: string, steps: Steps): Promise<void> {
    const { runs, nodes, modules } = this.options;
    const recorded = await runs.recorded(call.clusterRef);
    if (recorded) await runs.setManaged(call.clusterRef, true);
    if ((recorded?.head?.resources ?? 0) > 0) return;
    const spec = await nodes.specOf(call.clusterRef);
    if (!spec) throw new DriverError('validation', 'import.not_found', `There is nothing called ${externalId}.`);
    const target = targetOf(spec, modules, this.can);
    await this.runs.write(call, target, steps, async (workspace, credentialId) => {
      const { plan, stored, nodes: names } = await steps.step('plan', () => this.plans.make(call, target, workspace, recorded));
      if (plan.destructive) throw new DriverError('permission', 'plan.not_approved', 'An adoption may destroy nothing.');
      await steps.step('apply', () => workspace.apply(stored.file, steps));
      await runs.complete(credentialId, { spec, nodes: names });
    });
  }

  async destroy(call: DriverCall, recorded: RecordedCluster, steps: Steps): Promise<void> {
    // A spec that was never recorded belongs to a creation that broke off; any of the module's will do to destroy.
    const target = targetOf(recorded.spec ?? smallestSpec(this.options.modules[0]!), this.options.modules, this.can);
    await this.runs.write(call, target, steps, async (workspace, credentialId) => {
      const { stored } = await steps.step('plan_destroy', () => this.plans.make(call, target, workspace, recorded, { destroy: true }));
      await steps.step('destroy', () => workspace.apply(stored.file, steps));
      await steps.step('record', () => this.options.runs.complete(credentialId, { spec: null, nodes: [] }));
    });
  }
}
