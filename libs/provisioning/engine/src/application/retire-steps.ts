/** The two calls with which a cluster ends: it is taken down, and looked for. */
import type { DeleteOutcome, InventoryReport } from '#provisioning/core';
import { nextCluster } from '../domain/cluster-states.js';
import { finishOperation, runningOn } from '../infra/operations.js';
import { updateCluster } from '../infra/rows.js';
import type { EngineContext } from './context.js';
import type { Step } from './step.js';

export function deleteStep(ctx: EngineContext): Step<DeleteOutcome> {
  return {
    name: 'delete',
    changes: true,
    awaited: 'the cluster to be taken down',
    intent: async (_tx, cluster) => ({ confirm: cluster.name }),
    ask: (driver, call, intent) => driver.delete(call, { confirm: intent['confirm'] as string }),
    record: ({ survivors }) => ({ survivors: survivors.map((s) => s.externalId) }),
    done: (tx, cluster, { survivors }) =>
      updateCluster(tx, cluster.cluster_id, { recorded: { ...cluster.recorded, survivors: survivors.map(nameOf) } }, ctx.clock.now()),
  };
}

/**
 * The control plane's own look: gone is what carries the cluster's label nowhere any more, and only after the driver's own sweep was
 * clean too.
 */
export function sweepStep(ctx: EngineContext): Step<InventoryReport> {
  return {
    name: 'sweep',
    awaited: 'a look for what is left of it',
    intent: async (_tx, cluster) => ({ left: cluster.recorded.survivors ?? [] }),
    ask: (driver, call) => driver.inventory({ operationId: call.operationId, deadline: call.deadline }),
    record: ({ items }) => ({ items: items.length }),
    async done(tx, cluster, { items }, intent) {
      const found = items.filter((i) => i.clusterRef === cluster.name).map(nameOf);
      const left = [...new Set([...(intent['left'] as string[]), ...found])];
      if (left.length > 0) {
        await updateCluster(
          tx,
          cluster.cluster_id,
          { recorded: { ...cluster.recorded, survivors: left, sweeps: (cluster.recorded.sweeps ?? 0) + 1 } },
          ctx.clock.now(),
        );
        return;
      }
      const now = ctx.clock.now();
      await ctx.withdrawCellKey?.(tx, cluster.cluster_id);
      await updateCluster(
        tx,
        cluster.cluster_id,
        {
          phase: nextCluster(cluster.phase, 'retired'),
          deleted_at: now,
          cell_key_sealed: null,
          recorded: { ...cluster.recorded, survivors: [] },
        },
        now,
      );
      for (const op of await runningOn(tx, cluster.cluster_id))
        await finishOperation(tx, now, op, 'succeeded', 'Nothing of the cluster is left.');
    },
  };
}

const nameOf = (item: { kind: string; externalId: string }): string => `${item.kind} ${item.externalId}`;
