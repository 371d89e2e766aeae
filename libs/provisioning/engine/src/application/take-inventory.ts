import { errorText, realNow, uuidv7 } from '#platform';
import { judgeInventory, type InventoryItem, type ObservedPlacement } from '#provisioning/core';
import { isBuilt, type EngineContext } from './context.js';
import type { ClusterRow } from '../infra/rows.js';
import type { StepLedger } from './step-ledger.js';

/** What the drivers say is there. Who could not be asked is named with the reason; of what lies there nothing is known. */
export interface Inventory {
  clusters: { clusterId: string; name: string; placements: readonly ObservedPlacement[] }[];
  /** Nobody's: it costs and serves no one. */
  orphans: { driver: string; item: InventoryItem }[];
  /** More than one of a kind for one cluster. */
  doubled: { driver: string; clusterRef: string; items: InventoryItem[] }[];
  unanswered: { what: string; why: string }[];
}

/** Asks every driver and every cluster that was built; changes nothing. */
export async function takeInventory(ctx: EngineContext, ledger: StepLedger): Promise<Inventory> {
  const out: Inventory = { clusters: [], orphans: [], doubled: [], unanswered: [] };
  for (const [driver, port] of ctx.drivers) {
    try {
      const deadline = new Date(realNow().getTime() + ctx.times.callTimeoutMs);
      const { output, error } = await port.inventory({ operationId: uuidv7(), deadline });
      if (!output) throw new Error(error?.detail ?? 'the driver gave no inventory');
      // Read after the drivers answered: what was made meanwhile is known.
      const known = await clustersOf(ctx);
      const judged = judgeInventory(output.items, new Set(known.filter((c) => c.driver === driver).map((c) => c.name)));
      const live = new Map<string, InventoryItem[]>();
      for (const { item, verdict } of judged)
        if (verdict === 'orphan') out.orphans.push({ driver, item });
        else live.set(`${item.kind}|${item.clusterRef}`, [...(live.get(`${item.kind}|${item.clusterRef}`) ?? []), item]);
      for (const items of live.values()) if (items.length > 1) out.doubled.push({ driver, clusterRef: items[0]!.clusterRef!, items });
    } catch (error) {
      out.unanswered.push({ what: `driver ${driver}`, why: errorText(error).slice(0, 300) });
    }
  }
  await Promise.all(
    (await clustersOf(ctx)).filter(isBuilt).map(async (cluster) => {
      try {
        const { placements, exists, health, reasons } = await ledger.observeCluster(cluster);
        // What is down serves nothing, and what it would say of its placements is only what it was told.
        if (exists && health === 'down') throw new Error(`it is down: ${reasons.join(' ')}`);
        out.clusters.push({ clusterId: cluster.cluster_id, name: cluster.name, placements });
      } catch (error) {
        out.unanswered.push({ what: `cluster ${cluster.name}`, why: errorText(error).slice(0, 300) });
      }
    }),
  );
  return out;
}

const clustersOf = (ctx: EngineContext): Promise<ClusterRow[]> =>
  ctx.db.ops((tx) => tx.query<ClusterRow>('select * from clusters where deleted_at is null order by cluster_id'));
