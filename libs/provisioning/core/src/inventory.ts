/** Everything that carries our ownership label, with or without a record of it (contract provisioning §3.4). */

export interface InventoryItem {
  /** What `import` takes; unique in the driver. */
  readonly externalId: string;
  /** For example `cell-folder`, `cell-process`. */
  readonly kind: string;
  /** Which cluster its label names; null when it names none. */
  readonly clusterRef: string | null;
  readonly state: 'running' | 'stopped' | 'broken';
  /** False after `release`. */
  readonly managed: boolean;
  readonly detail: string;
}

export interface InventoryReport {
  readonly items: readonly InventoryItem[];
}

/** `live`: known and running. `stale`: known, and not running. `orphan`: nobody's, it costs and serves no one. */
export type InventoryVerdict = 'live' | 'stale' | 'orphan';

/** Judges each item against the clusters that the control plane knows. What was released on purpose is left out. */
export function judgeInventory(
  items: readonly InventoryItem[],
  knownClusterRefs: ReadonlySet<string>,
): readonly { readonly item: InventoryItem; readonly verdict: InventoryVerdict }[] {
  return items
    .filter((item) => item.managed)
    .map((item) => {
      if (item.clusterRef === null || !knownClusterRefs.has(item.clusterRef)) return { item, verdict: 'orphan' };
      return { item, verdict: item.state === 'running' ? 'live' : 'stale' };
    });
}

export interface DeleteRequest {
  /** The cluster's own name once more: a deletion without a named consent is refused (`delete.not_approved`). */
  readonly confirm: string;
}

export interface DeleteOutcome {
  /** What the sweep still found. Not empty: the cluster is not deleted, whatever the calls said (contract provisioning §3.4). */
  readonly survivors: readonly InventoryItem[];
}
