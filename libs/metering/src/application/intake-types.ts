export interface UsagePrincipal {
  kind: 'operator' | 'cell' | 'tenant';
  keyId: string;
  clusterId?: string;
  tenantId?: string;
}
export interface IngestResult {
  index: number;
  id: string;
  outcome: 'accepted' | 'duplicate' | 'conflict' | 'rejected';
  code?: string;
  detail?: string;
}

/** Who posts, as the dedupe key sees it: a cell's new key is still the same cell. */
export const posterOf = (p: UsagePrincipal): string =>
  p.kind === 'cell' ? `cell:${p.clusterId}` : p.kind === 'tenant' ? `tenant:${p.tenantId}` : `operator:${p.keyId}`;
/** The one source that this principal may speak for; null: any. */
export const ownSource = (p: UsagePrincipal): string | null =>
  p.kind === 'cell' ? `/cells/${p.clusterId}` : p.kind === 'tenant' ? `/tenants/${p.tenantId}` : null;

export interface Binding {
  placementId: string;
  tenantId: string;
  subscriptionId: string;
  source: string;
  from: bigint;
  until: bigint | null;
}
