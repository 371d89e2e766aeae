/** What the API shows. Each takes the caller's transaction: under a tenant's context row-level security leaves that tenant's rows. */
import { ProblemError, type Tx } from '#platform';
import type { ClusterSpec, CostRate, EndpointDescription, PreflightReport } from '#provisioning/core';
import type { ClusterPhase } from '../domain/cluster-states.js';
import type { DesiredState, PlacementPhase } from '../domain/placement-states.js';
import type { ClusterRow, PlacementRow, StoredError, StoredSample } from '../infra/rows.js';
import { placementUnknown, type EngineContext } from './context.js';
import { openKeys } from './credentials.js';
import { page, type Page, type Paging } from './paging.js';
import { openPlanOf } from './plan-approval.js';
import { NEWEST_EXPORT, type ExportRow } from '../infra/export-rows.js';
import { exportView, type ExportView } from './export-view.js';

export interface ClusterView {
  readonly clusterId: string;
  readonly name: string;
  readonly driver: string;
  readonly variant: string;
  readonly region: string;
  readonly shape: string;
  readonly phase: ClusterPhase;
  readonly placements: number;
  readonly generation: string;
  readonly observedGeneration: string;
  readonly observed: Record<string, unknown> | null;
  readonly error: StoredError | null;
  /** What it shall be. */
  readonly nodes: number;
  readonly capacityBytes: string | null;
  /** While it gets another size: what it had, and who wanted it. */
  readonly resize: { readonly from: ClusterSpec; readonly by: string; readonly reason: string } | null;
  /** What it shall run; null is what its driver chooses. What it does run is in `observed`. */
  readonly version: string | null;
  /** While it gets another version. */
  readonly upgrade: { readonly to: string; readonly by: string; readonly reason: string } | null;
  /** One that waits for its window; its operation is `booked`. */
  readonly booked: NonNullable<ClusterRow['recorded']['booked']> | null;
  /** A plan that destroys data and waits for a decision, or is being executed after one. */
  readonly plan: ReturnType<typeof openPlanOf>;
  /** The last checks before something was built: pass, warn, fail, unknown. */
  readonly preflight: (PreflightReport & { readonly at: string }) | null;
  /** What the last plan said that an hour costs; null: not known, or nothing was planned. */
  readonly cost: CostRate | null;
  /** Since when it gets no more placements. */
  readonly cordonedAt: Date | null;
  readonly retirement: { readonly by: string; readonly reason: string; readonly at: string; readonly survivors: readonly string[] } | null;
  readonly retiredAt: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface PlacementView {
  readonly placementId: string;
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly clusterId: string;
  readonly accountName: string;
  readonly phase: PlacementPhase;
  readonly desired: DesiredState;
  readonly generation: string;
  readonly observedGeneration: string;
  readonly endpoint: string | null;
  /** Protocol and sign-in modes; null until it was configured once. */
  readonly endpointDescription: EndpointDescription | null;
  readonly region: string;
  readonly activatedAt: Date | null;
  readonly accessEndedAt: Date | null;
  readonly lastSample: StoredSample | null;
  readonly purgedAt: Date | null;
  /** Whether its data was taken along; null until its access has ended. */
  readonly export: ExportView | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface Credentials {
  readonly placementId: string;
  readonly endpoint: string;
  readonly accountName: string;
  readonly keys: readonly { readonly id: string; readonly secretBase64: string }[];
}

type CountedCluster = ClusterRow & { placements: string };
const COUNTED = `clusters.*, (select count(*) from placements p where p.cluster_id = clusters.cluster_id and p.phase <> 'purged') as placements`;

/** Operators only: clusters have no tenant. */
export function listClusters(tx: Tx, paging: Paging, filter: { region?: string; phase?: ClusterPhase } = {}): Promise<Page<ClusterView>> {
  return page<CountedCluster, ClusterView>(
    tx,
    {
      from: 'clusters',
      id: 'cluster_id',
      select: COUNTED,
      where: [
        ['region = ', filter.region],
        ['phase = ', filter.phase],
      ],
    },
    paging,
    clusterView,
    (r) => r.cluster_id,
  );
}

export async function getCluster(tx: Tx, clusterId: string): Promise<ClusterView> {
  const [row] = await tx.query<CountedCluster>(`select ${COUNTED} from clusters where cluster_id = $1`, [clusterId]);
  if (!row) throw new ProblemError('not_found', 'cluster.unknown', `There is no cluster ${clusterId}.`);
  return clusterView(row);
}

type ExportedPlacement = PlacementRow & { export: ExportRow | null };
const WITH_EXPORT = `placements.*, ${NEWEST_EXPORT} as export`;

export function listPlacements(
  tx: Tx,
  paging: Paging,
  filter: { tenantId?: string; subscriptionId?: string; clusterId?: string; phase?: PlacementPhase } = {},
): Promise<Page<PlacementView>> {
  const where: [string, unknown][] = [
    ['tenant_id = ', filter.tenantId],
    ['subscription_id = ', filter.subscriptionId],
    ['cluster_id = ', filter.clusterId],
    ['phase = ', filter.phase],
  ];
  return page<ExportedPlacement, PlacementView>(
    tx,
    { from: 'placements', id: 'placement_id', select: WITH_EXPORT, where },
    paging,
    placementView,
    (r) => r.placement_id,
  );
}

export async function getPlacement(tx: Tx, placementId: string): Promise<PlacementView> {
  const [row] = await tx.query<ExportedPlacement>(`select ${WITH_EXPORT} from placements where placement_id = $1`, [placementId]);
  if (!row) throw placementUnknown(placementId);
  return placementView(row);
}

/** The live one, else the last one there was. */
export async function placementOfSubscription(tx: Tx, subscriptionId: string): Promise<PlacementView | null> {
  const [row] = await tx.query<ExportedPlacement>(
    `select ${WITH_EXPORT} from placements where subscription_id = $1 order by placement_id desc limit 1`,
    [subscriptionId],
  );
  return row ? placementView(row) : null;
}

/** Secrets: for the owner's eyes, asked for on purpose. */
export async function credentials(ctx: Pick<EngineContext, 'sealer'>, tx: Tx, placementId: string): Promise<Credentials> {
  const p = await getPlacement(tx, placementId);
  const hidden: readonly PlacementPhase[] = ['ending', 'ended', 'purging', 'purged'];
  if (p.activatedAt === null || p.endpoint === null || hidden.includes(p.phase))
    throw new ProblemError('conflict', 'placement.in_state', `A placement that is ${p.phase} has no credentials to show.`, {
      phase: p.phase,
    });
  return {
    placementId,
    endpoint: p.endpoint,
    accountName: p.accountName,
    keys: (await openKeys(ctx, tx, [placementId])).get(placementId) ?? [],
  };
}

const clusterView = (r: CountedCluster): ClusterView => ({
  clusterId: r.cluster_id,
  name: r.name,
  driver: r.driver,
  variant: r.variant,
  region: r.region,
  shape: r.shape,
  phase: r.phase,
  placements: Number(r.placements),
  generation: r.generation,
  observedGeneration: r.observed_generation,
  observed: r.observed,
  error: r.recorded.error ?? null,
  nodes: r.desired.nodes,
  capacityBytes: r.desired.capacityBytes,
  resize: r.recorded.resize ?? null,
  version: r.desired.version,
  upgrade: r.recorded.upgrade ?? null,
  booked: r.recorded.booked ?? null,
  plan: openPlanOf(r),
  preflight: r.recorded.preflight ?? null,
  cost: r.recorded.cost ?? null,
  cordonedAt: r.cordoned_at,
  retirement: r.recorded.retirement ? { ...r.recorded.retirement, survivors: r.recorded.survivors ?? [] } : null,
  retiredAt: r.deleted_at,
  createdAt: r.created_at,
  updatedAt: r.updated_at,
});

const placementView = (r: ExportedPlacement): PlacementView => ({
  placementId: r.placement_id,
  tenantId: r.tenant_id,
  subscriptionId: r.subscription_id,
  clusterId: r.cluster_id,
  accountName: r.account_name,
  phase: r.phase,
  desired: r.desired,
  generation: r.generation,
  observedGeneration: r.observed_generation,
  endpoint: r.endpoint,
  endpointDescription: r.endpoint_description,
  region: r.region,
  activatedAt: r.activated_at,
  accessEndedAt: r.access_ended_at,
  lastSample: r.last_sample,
  purgedAt: r.purged_at,
  export: r.export ? exportView(r.export) : null,
  version: r.version,
  createdAt: r.created_at,
  updatedAt: r.updated_at,
});
