import { randomUUID } from 'node:crypto';
import type { Database } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import type { Emission, MeterTerms, PlanVersion, SampleKind } from '#entitlements';

export const GIB = 2n ** 30n;
export const MIB = 2n ** 20n;

export const STORED: MeterTerms = {
  meter: 'gib_hours_stored',
  metric: 'stored_bytes',
  kind: 'gauge_integral',
  source: 'cell',
  dimension: 'stored',
  listedUnit: 'GiB-hour',
  basePerUnit: (GIB * 3_600_000_000n).toString(),
  decimals: 0,
  included: null,
  includedBy: 'seller',
  gap: 'carry',
  billableWhileSuspended: false,
  emission: 'live',
};
export const EGRESS: MeterTerms = {
  ...STORED,
  meter: 'mib_egress',
  metric: 'egress_bytes',
  kind: 'counter',
  dimension: 'egress',
  listedUnit: 'MiB',
  basePerUnit: MIB.toString(),
};
export const PROVISIONED: MeterTerms = {
  ...STORED,
  meter: 'gib_hours_provisioned',
  metric: 'provisioned_bytes',
  source: 'engine',
  dimension: 'provisioned',
};

/** Nodes in use, sold by the most at one moment, and as they stood at the end of the hour; calls, told one by one. */
export const PEAK_NODES: MeterTerms = {
  ...STORED,
  meter: 'peak_nodes',
  metric: 'nodes',
  kind: 'max',
  dimension: 'peak-nodes',
  listedUnit: 'node',
  basePerUnit: '1',
};
export const LATEST_NODES: MeterTerms = { ...PEAK_NODES, meter: 'latest_nodes', kind: 'latest', dimension: 'latest-nodes' };
export const CALLS: MeterTerms = {
  ...PEAK_NODES,
  meter: 'kilo_calls',
  metric: 'calls',
  kind: 'sum',
  dimension: 'calls',
  listedUnit: '1,000 calls',
  basePerUnit: '1000',
};

export interface Purchase {
  subscriptionId: string;
  tenantId: string;
  externalSubscriptionId: string;
  placementId: string;
  planVersionId: string;
  segmentId: string;
  marketplace: Marketplace;
}

/** Rows of tenancy and entitlements as they would be, without their use cases: what metering reads. */
export class Fixtures {
  private sequence = 1;
  /** Makes a purchase's id; a test may want ids of one shard. */
  newSubscriptionId: () => string = randomUUID;
  /** Every dimension of a plan has a list price; tests of unknown prices say no. */
  withPrices = true;
  constructor(private readonly db: Database) {}

  async plan(
    meters: MeterTerms[],
    externalPlanId = 'gold',
    hardLimit = (100n * GIB).toString(),
    marketplace: Marketplace = 'azure',
  ): Promise<string> {
    const planVersionId = randomUUID();
    const document = {
      planVersionId,
      marketplace,
      externalOfferId: 'object-cells',
      externalPlanId,
      version: this.sequence++,
      contentHash: planVersionId,
      offerName: 'Cells',
      planName: externalPlanId,
      shape: 's',
      regions: [],
      defaultRegion: 'r',
      acknowledge: 'on_serving',
      features: {},
      quotas: [{ name: 'storage_bytes', unit: 'bytes', hardLimit, per: 'plan' }],
      meters,
    } satisfies PlanVersion;
    await this.db.ops(async (tx) => {
      await tx.query(
        `insert into plan_versions (plan_version_id, marketplace, external_offer_id, external_plan_id, version, content_hash, document, loaded_at) values ($1, $2, 'object-cells', $3, $4, $5, $6, now())`,
        [planVersionId, marketplace, externalPlanId, document.version, document.contentHash, JSON.stringify(document)],
      );
      if (this.withPrices)
        await tx.query(
          `insert into prices (price_id, marketplace, external_offer_id, external_plan_id, dimension, currency, unit_price, effective_from, source, recorded_at, recorded_by)
           select gen_random_uuid(), $1, 'object-cells', $2, d, 'USD', 1, '2020-01-01', 'fx-list', '2020-01-01', 'fx-hand' from unnest($3::text[]) d`,
          [marketplace, externalPlanId, meters.map((m) => m.dimension)],
        );
    });
    return planVersionId;
  }

  /** What the catalog says of the fixtures' listing, from an hour's edge on. */
  async emission(emission: Emission, from: Date, marketplace: Marketplace = 'azure'): Promise<void> {
    await this.db.ops((tx) =>
      tx.query(
        `insert into listing_emissions (marketplace, external_offer_id, from_at, emission, recorded_at) values ($1, 'object-cells', $2, $3, now())`,
        [marketplace, from, emission],
      ),
    );
  }

  async purchase(input: {
    planVersionId: string;
    startsAt: Date;
    externalPlanId?: string;
    externalSubscriptionId?: string;
    marketplace?: Marketplace;
  }): Promise<Purchase> {
    const p: Purchase = {
      subscriptionId: this.newSubscriptionId(),
      tenantId: randomUUID(),
      externalSubscriptionId: input.externalSubscriptionId ?? randomUUID(),
      placementId: randomUUID(),
      planVersionId: input.planVersionId,
      segmentId: randomUUID(),
      marketplace: input.marketplace ?? 'azure',
    };
    const plan = input.externalPlanId ?? 'gold';
    await this.db.ops(async (tx) => {
      await tx.query(
        `insert into tenants (tenant_id, slug, display_name, region, state, created_at, updated_at) values ($1, $2, 'A tenant', 'r', 'active', now(), now())`,
        [p.tenantId, `t-${p.tenantId.slice(0, 8)}`],
      );
      await tx.query(
        `insert into subscriptions (subscription_id, marketplace, external_subscription_id, tenant_id, state, plan_version_id, external_offer_id, external_plan_id, truth, created_at, updated_at)
         values ($1, $2, $3, $4, 'active', $5, 'object-cells', $6, '{}', $7, $7)`,
        [p.subscriptionId, p.marketplace, p.externalSubscriptionId, p.tenantId, p.planVersionId, plan, input.startsAt],
      );
      await this.segment(tx, p, 1, p.segmentId, input.startsAt, input.planVersionId, plan, true, 'activated');
    });
    return p;
  }

  /** A cut: the current segment ends, the next begins. */
  async cut(
    p: Purchase,
    at: Date,
    next: { planVersionId: string; externalPlanId: string; billable?: boolean; reason?: string },
  ): Promise<string> {
    const id = randomUUID();
    await this.db.ops(async (tx) => {
      await tx.query('update segments set ends_at = $2 where subscription_id = $1 and ends_at is null', [p.subscriptionId, at]);
      const [row] = await tx.query<{ n: number }>('select max(sequence) as n from segments where subscription_id = $1', [p.subscriptionId]);
      await this.segment(
        tx,
        p,
        Number(row!.n) + 1,
        id,
        at,
        next.planVersionId,
        next.externalPlanId,
        next.billable ?? true,
        next.reason ?? 'plan_change',
      );
      await tx.query('update subscriptions set state = $2 where subscription_id = $1', [
        p.subscriptionId,
        next.billable === false ? 'suspended' : 'active',
      ]);
    });
    return id;
  }

  async end(p: Purchase, at: Date): Promise<void> {
    await this.db.ops(async (tx) => {
      await tx.query('update segments set ends_at = $2 where subscription_id = $1 and ends_at is null', [p.subscriptionId, at]);
      await tx.query(`update subscriptions set state = 'closing', ended_at = $2 where subscription_id = $1`, [p.subscriptionId, at]);
    });
  }

  private async segment(
    tx: { query(sql: string, p?: unknown[]): Promise<unknown> },
    p: Purchase,
    sequence: number,
    id: string,
    at: Date,
    plan: string,
    externalPlanId: string,
    billable: boolean,
    reason: string,
  ): Promise<void> {
    await tx.query(
      `insert into segments (segment_id, subscription_id, tenant_id, sequence, starts_at, plan_version_id, external_plan_id, billable, reason, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())`,
      [id, p.subscriptionId, p.tenantId, sequence, at, plan, externalPlanId, billable, reason],
    );
  }
}

/** Each source numbers its events, as a cell does. */
const numbers = new Map<string, number>();
function base(source: string, type: string): Record<string, unknown> & { sequence: number } {
  const sequence = (numbers.get(source) ?? 0) + 1;
  numbers.set(source, sequence);
  return { specversion: '1.0', id: `${source}.${sequence}`, source, type, sequence };
}

export function sampleEvent(
  source: string,
  placementId: string,
  at: Date | string,
  value: bigint | string,
  over: { metric?: string; kind?: SampleKind; epoch?: string; id?: string; sequence?: number } = {},
): Record<string, unknown> {
  const kind = over.kind ?? 'gauge';
  const event = base(source, 'berth.sample.v1');
  return {
    ...event,
    ...(over.id ? { id: over.id } : {}),
    time: typeof at === 'string' ? at : at.toISOString(),
    subject: placementId,
    sequence: over.sequence ?? event.sequence,
    data: {
      metric: over.metric ?? (kind === 'gauge' ? 'stored_bytes' : 'egress_bytes'),
      kind,
      value: value.toString(),
      epoch: over.epoch ?? 'boot-1',
    },
  };
}

export const watermarkEvent = (source: string, through: Date): Record<string, unknown> => {
  const event = base(source, 'berth.watermark.v1');
  return { ...event, data: { through: through.toISOString(), sequence: event.sequence } };
};
