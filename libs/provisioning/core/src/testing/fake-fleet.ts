/** The clusters behind the fake driver, and what a test does to them from outside. */
import type { Clock } from '#platform';
import {
  DriverError,
  type ClusterSpec,
  type DesiredPlacement,
  type DriverCall,
  type DriverCapabilities,
  type InventoryItem,
  type LastSample,
  type ProbeAccess,
} from '../index.js';

export interface FakeCluster {
  externalId: string;
  ref: string | null;
  spec: ClusterSpec;
  serial: number;
  generation: number | null;
  managed: boolean;
  broken: boolean;
  placements: Map<string, DesiredPlacement>;
  accounts: Map<string, string>;
  data: Map<string, Map<string, string>>;
}

export const FAKE_CAPABILITIES: DriverCapabilities = {
  driver: 'fake',
  variant: 'local_dev',
  regions: ['here', 'there'],
  shapes: [
    { name: 'small', minNodes: 1, maxNodes: 1 },
    { name: 'large', minNodes: 1, maxNodes: 8 },
    { name: 'bound', minNodes: 1, maxNodes: 2, capacityBytes: '3000000', identitySlots: { oidc: 1, ldap: 2 } },
  ],
  versions: ['1', '2'],
  resizeUp: true,
  resizeDown: true,
  upgrade: true,
  importExisting: true,
  cancel: true,
  suspendKinds: ['access'],
  signInModes: ['shared_key', 'sas'],
  probes: true,
  protocols: ['azure-blob'],
  maxPlacements: 100,
  keyRotation: true,
  hardQuota: false,
};

export class FakeFleet {
  readonly clusters = new Map<string, FakeCluster>();
  /** Where `openProbe` lets one in: a test puts a real endpoint behind the fake. */
  probe: ProbeAccess = { endpoint: 'fake://nowhere/probe', accountName: 'probe', secretBase64: 'cHJvYmU=' };
  readonly openProbes = new Set<string>();
  private sequence = 0;

  constructor(protected readonly clock: Clock) {}

  /** The data path: what the endpoint does with a write. */
  write(clusterRef: string, placementId: string, name: string, text: string): void {
    const [c] = this.open(clusterRef, placementId);
    const blobs = c.data.get(placementId) ?? new Map<string, string>();
    c.data.set(placementId, blobs.set(name, text));
  }

  /** The data path: null when there is nothing. Throws when access is ended. */
  read(clusterRef: string, placementId: string, name: string): string | null {
    const [c] = this.open(clusterRef, placementId);
    return c.data.get(placementId)?.get(name) ?? null;
  }

  /** Puts a cluster there that no control plane knows. */
  plantOrphan(externalId: string): void {
    this.clusters.set(externalId, {
      externalId,
      ref: null,
      spec: { region: 'here', shape: 'small', nodes: 1, version: null, capacityBytes: null, labels: {} },
      serial: 1,
      generation: null,
      managed: true,
      broken: false,
      placements: new Map(),
      accounts: new Map(),
      data: new Map(),
    });
  }

  protected open(clusterRef: string, placementId: string): [FakeCluster, DesiredPlacement] {
    const c = this.must(clusterRef);
    const p = c.placements.get(placementId);
    if (!p || p.state !== 'active') throw new Error('403 access ended');
    return [c, p];
  }

  protected items(): InventoryItem[] {
    return [...this.clusters.values()].map((c) => ({
      externalId: c.externalId,
      kind: 'fake-cluster',
      clusterRef: c.ref,
      state: c.broken ? 'broken' : 'running',
      managed: c.managed,
      detail: '',
    }));
  }

  protected found(externalId: string): [string, FakeCluster] {
    const hit = [...this.clusters].find(([, c]) => c.externalId === externalId);
    if (!hit) throw new DriverError('validation', 'import.not_found', `Nothing is called ${externalId}.`);
    return hit;
  }

  protected must(clusterRef: string): FakeCluster {
    const c = this.clusters.get(clusterRef);
    if (!c) throw new DriverError('validation', 'cluster.not_found', `There is no cluster ${clusterRef}.`);
    return c;
  }

  protected placement(call: DriverCall, placementId: string): [FakeCluster, DesiredPlacement] {
    const c = this.must(call.clusterRef);
    const p = c.placements.get(placementId);
    if (!p) throw new DriverError('validation', 'placement.not_found', `There is no placement ${placementId}.`);
    return [c, p];
  }

  protected endpoint(c: FakeCluster, p: DesiredPlacement): string {
    return `fake://${c.externalId}/${p.accountName}`;
  }

  protected lastSample(placementId: string): LastSample {
    return { placementId, at: this.clock.now().toISOString(), sequence: String(++this.sequence), acknowledged: true };
  }
}
