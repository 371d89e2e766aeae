/** Looking: what the nodes say, beside what the state says. Runs no terraform, so it may be asked every few seconds. */
import {
  type ClusterObservation,
  type DriverCall,
  DriverError,
  type DriverResult,
  type FleetCall,
  type InventoryReport,
} from '#provisioning/core';
import type { TerraformDriverOptions } from './options.js';

type Needs = Pick<TerraformDriverOptions, 'nodes' | 'runs'>;

export async function observeCluster(call: DriverCall, { nodes, runs }: Needs): Promise<ClusterObservation> {
  const [recorded, seen] = await Promise.all([runs.recorded(call.clusterRef), now(nodes.observe(call))]);
  const inState = (recorded?.head?.resources ?? 0) > 0;
  // Ours moves when an operation has come to its end; terraform's own serial also moves in the middle of one.
  const observation = { ...seen, stateSerial: recorded?.serial ?? 0 };
  if (inState && !seen.exists)
    return { ...observation, exists: true, health: 'down', reasons: ['The state names nodes that are not there.', ...seen.reasons] };
  if (!inState && seen.exists)
    return { ...observation, health: 'degraded', reasons: ['There are nodes that no state names.', ...seen.reasons] };
  return observation;
}

/** What carries our label, and what a state names though nothing carries the label. */
export async function takeInventory(call: FleetCall, { nodes, runs }: Needs): Promise<InventoryReport> {
  const [{ items }, built] = await Promise.all([now(nodes.inventory(call)), runs.built()]);
  const found = new Set(items.map((item) => item.clusterRef));
  const gone = built
    .filter((c) => !found.has(c.clusterRef))
    .map((c) => ({
      externalId: `state-${c.clusterRef}`,
      kind: 'terraform-state',
      clusterRef: c.clusterRef,
      state: 'broken' as const,
      managed: c.managed,
      detail: `the state names ${c.head!.resources} resources and nothing carries the label`,
    }));
  return { items: [...items, ...gone] };
}

/** The answer to a look, which is there at once. */
async function now<T>(asked: Promise<DriverResult<T>>): Promise<T> {
  const result = await asked;
  if (result.phase !== 'succeeded')
    throw new DriverError('unknown', 'nodes.not_seen', result.error?.detail ?? 'The nodes could not be seen.');
  return result.output as T;
}
