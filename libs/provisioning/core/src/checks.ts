/** Pure checks that each driver makes before it touches anything. They throw {@link DriverError}. */
import type { ApplyRequest, ClusterSpec, DriverCapabilities } from './cluster.js';
import { DriverError } from './errors.js';
import type { DesiredConfiguration } from './placement.js';

const CLUSTER_REF = /^[a-z0-9][a-z0-9-]{1,62}$/;
const ACCOUNT_NAME = /^[a-z0-9]{3,24}$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const DECIMAL = /^(0|[1-9][0-9]{0,29})$/;

export function assertClusterRef(clusterRef: string): void {
  if (!CLUSTER_REF.test(clusterRef))
    throw new DriverError('validation', 'cluster.bad_ref', 'A cluster reference is 2 to 63 of a-z, 0-9 and "-".');
}

/** Shape catalogue first: an unsupported shape costs nothing (contract provisioning §3.4). */
export function assertSpec(spec: ClusterSpec, can: DriverCapabilities): void {
  const shape = can.shapes.find((s) => s.name === spec.shape);
  if (!shape)
    throw new DriverError('validation', 'spec.unknown_shape', `Shape "${spec.shape}" is not in the catalogue of driver ${can.driver}.`);
  if (!can.regions.includes(spec.region))
    throw new DriverError('validation', 'spec.unknown_region', `Region "${spec.region}" is not served by driver ${can.driver}.`);
  if (!Number.isInteger(spec.nodes) || spec.nodes < shape.minNodes || spec.nodes > shape.maxNodes)
    throw new DriverError('validation', 'spec.bad_nodes', `Shape "${shape.name}" takes ${shape.minNodes} to ${shape.maxNodes} nodes.`);
  if (spec.version !== null && !can.versions.includes(spec.version))
    throw new DriverError('validation', 'spec.unknown_version', `Version "${spec.version}" is not offered.`);
  if (spec.capacityBytes !== null && !DECIMAL.test(spec.capacityBytes))
    throw new DriverError('validation', 'spec.bad_capacity', 'Capacity is bytes in decimal text.');
}

/** For `upgrade`. */
export function assertVersion(version: string, can: DriverCapabilities): void {
  if (!can.upgrade) throw new DriverError('unsupported', 'upgrade.unsupported', `Driver ${can.driver} upgrades nothing.`);
  if (!can.versions.includes(version))
    throw new DriverError('validation', 'upgrade.unknown_version', `Version "${version}" is not offered by driver ${can.driver}.`);
}

/** `seen` is the recorded state's serial, `now` business time. */
export function assertApplicable(request: ApplyRequest, seen: number, now: Date): void {
  const { plan, approval } = request;
  if (plan.stateSerial !== seen)
    throw new DriverError('conflict', 'plan.stale', `The plan was made from state ${plan.stateSerial}; the state is ${seen}.`);
  if (Date.parse(plan.expiresAt) <= now.getTime())
    throw new DriverError('conflict', 'plan.expired', `The plan expired at ${plan.expiresAt}.`);
  if (!plan.destructive && plan.destroys.length === 0) return;
  const named = approval?.planHash === plan.hash && plan.destroys.every((name) => approval.names.includes(name));
  if (!named)
    throw new DriverError(
      'permission',
      'plan.not_approved',
      `The plan destroys ${plan.destroys.join(', ')} and no approval of this plan names them.`,
    );
}

export function assertConfiguration(desired: DesiredConfiguration, maxPlacements: number | null): void {
  const bad = (code: string, detail: string): never => {
    throw new DriverError('validation', code, detail);
  };
  if (maxPlacements !== null && desired.placements.length > maxPlacements)
    throw new DriverError('quota', 'configure.too_many_placements', `The cluster takes ${maxPlacements} placements.`);
  const ids = new Set<string>();
  const names = new Set<string>();
  for (const p of desired.placements) {
    if (p.placementId === '' || ids.has(p.placementId))
      bad('configure.duplicate_placement', `Placement "${p.placementId}" stands in the list twice.`);
    if (!ACCOUNT_NAME.test(p.accountName)) bad('configure.bad_account_name', `"${p.accountName}" is not 3 to 24 of a-z and 0-9.`);
    if (names.has(p.accountName)) bad('configure.duplicate_account_name', `Name "${p.accountName}" stands in the list twice.`);
    if (p.keys.length < 1 || p.keys.length > 2)
      bad('configure.bad_keys', `Placement ${p.placementId} has ${p.keys.length} keys; one or two are possible.`);
    if (p.keys.some((k) => !BASE64.test(k.secretBase64))) bad('configure.bad_keys', `A key of placement ${p.placementId} is not base64.`);
    const quota = p.limits.hardQuotaBytes;
    if (quota !== null && !DECIMAL.test(quota))
      bad('configure.bad_quota', `The hard quota of placement ${p.placementId} is not bytes in decimal text.`);
    ids.add(p.placementId);
    names.add(p.accountName);
  }
  for (const id of desired.purge)
    if (ids.has(id)) bad('configure.purge_of_live', `Placement ${id} is in the list and to be purged at once.`);
}

/** Returns the highest token to remember. Equal is the same writer (contract provisioning §4.3). */
export function assertFence(highestSeen: number, token: number): number {
  if (!Number.isSafeInteger(token) || token < 0)
    throw new DriverError('validation', 'driver.bad_fencing_token', 'A fencing token is a whole number.');
  if (token < highestSeen)
    throw new DriverError('conflict', 'driver.fenced', `Token ${token} is older than ${highestSeen}: another worker has taken over.`);
  return token;
}

export function assertGeneration(current: number | null, generation: number): void {
  if (current !== null && generation < current)
    throw new DriverError('conflict', 'driver.generation_stale', `Generation ${generation} is older than ${current}, which is in force.`);
}

export function assertDeleteConfirmed(clusterRef: string, confirm: string): void {
  if (confirm !== clusterRef)
    throw new DriverError('permission', 'delete.not_approved', `Deleting ${clusterRef} needs its name as confirmation.`);
}
