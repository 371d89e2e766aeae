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

export interface Binding {
  placement_id: string;
  tenant_id: string;
  subscription_id: string;
  source: string;
  from_us: string;
  until_us: string | null;
}
