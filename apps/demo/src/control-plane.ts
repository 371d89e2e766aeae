/** The product's REST API as the demo uses it: one class per kind of caller, with its key. */
import { JsonClient } from './support/http.js';

export interface Tenant {
  id: string;
  slug: string;
  displayName: string;
  region: string;
}
export interface Subscription {
  id: string;
  marketplace: string;
  externalSubscriptionId: string;
  tenantId: string | null;
  state: string;
  planId: string;
  endedAt: string | null;
  updatedAt: string;
}
export interface Quota {
  id: string;
  tenantId: string;
  subscriptionId: string;
  name: string;
  hardLimit: string;
  startsAt: string;
  endsAt: string | null;
}
export interface Entitlement {
  id: string;
  tenantId: string;
  subscriptionId: string;
  feature: string;
  value: unknown;
  endsAt: string | null;
}
export interface UsageRecord {
  id: string;
  subscriptionId: string;
  segmentId: string;
  meter: string;
  dimension: string;
  hour: string;
  planId: string;
  quantity: string;
  baseQuantity: string;
  quality: string;
  startsAt: string;
  endsAt: string;
}
export interface Attempt {
  at: string;
  outcome: string | null;
  receipt: string | null;
  detail: unknown;
}
export interface Submission {
  id: string;
  recordId: string;
  subscriptionId: string;
  dimension: string;
  hour: string;
  state: string;
  receipt: string | null;
  quantity: string;
  targetDeadline: string;
  hardDeadline: string;
  settledAt: string | null;
  attempts: Attempt[];
}
export interface Operation {
  id: string;
  kind: string;
  subscriptionId: string | null;
  phase: string;
  step: number;
  steps: number;
  awaited: string | null;
  state: string;
  log: { at: string; phase: string; message: string }[];
}
export interface Finding {
  id: string;
  kind: string;
  subscriptionId: string | null;
  dimension: string | null;
  hour: string | null;
  units: string | null;
  evidence: unknown;
  state: string;
}
export interface Reconciliation {
  id: string;
  state: string;
  agreed: boolean | null;
  comparisons: { kind: string; state: string; reason: string | null; compared: number; agreed: number }[];
}

/** The sum law's terms, decimal text in the meter's base unit. */
export const TERMS = [
  'measured',
  'estimated',
  'adjustments',
  'nonBillable',
  'included',
  'accepted',
  'overReported',
  'pending',
  'deferred',
  'remainder',
  'loss',
] as const;
export type Term = (typeof TERMS)[number];
export interface SumLawRow {
  meter: string;
  dimension: string;
  listedUnit: string;
  basePerUnit: string;
  terms: Record<Term, string>;
  difference: string;
}

export interface Landing {
  state: string;
  purchase: { offerName: string; planName: string; subscriptionName: string; beneficiaryEmail: string | null };
  includes: { label: string; value: string }[];
  regions: { id: string; name: string }[];
  progress: { phase: string; step: number; steps: number; awaited: string | null; message: string } | null;
  endpoint: { url: string; accountName: string; keys: { id: string; secret: string }[] | null } | null;
  problem: { code: string; detail: string } | null;
}

export interface Details {
  organisation: string;
  region: string;
  contactName: string;
  contactEmail: string;
}

export class ControlPlane {
  readonly http: JsonClient;

  constructor(
    readonly url: string,
    key: string | null,
  ) {
    this.http = new JsonClient(url, key);
  }

  ready(): Promise<{ status: string; businessTime: string }> {
    return this.http.get('/readyz');
  }

  landing(sessionId: string): Promise<Landing> {
    return this.http.get(`/landing/api/sessions/${sessionId}`);
  }

  tenants(): Promise<Tenant[]> {
    return this.http.all('/api/v1/tenants');
  }

  subscriptions(): Promise<Subscription[]> {
    return this.http.all('/api/v1/subscriptions');
  }

  subscription(id: string): Promise<Subscription> {
    return this.http.get(`/api/v1/subscriptions/${id}`);
  }

  quotas(): Promise<Quota[]> {
    return this.http.all('/api/v1/quotas');
  }

  entitlements(): Promise<Entitlement[]> {
    return this.http.all('/api/v1/entitlements');
  }

  records(): Promise<UsageRecord[]> {
    return this.http.all('/api/v1/usage-records');
  }

  submissions(): Promise<Submission[]> {
    return this.http.all('/api/v1/submissions');
  }

  operations(): Promise<Operation[]> {
    return this.http.all('/api/v1/operations');
  }

  findings(): Promise<Finding[]> {
    return this.http.all('/api/v1/findings');
  }

  async sumLaw(subscriptionId: string): Promise<SumLawRow[]> {
    return (await this.http.get<{ items: SumLawRow[] }>(`/api/v1/subscriptions/${subscriptionId}/sum-law`)).items;
  }

  async issueTenantKey(tenantId: string, name: string): Promise<ControlPlane> {
    const { key } = await this.http.post<{ key: string }>(`/api/v1/tenants/${tenantId}/keys`, { name });
    return new ControlPlane(this.url, key);
  }
}
