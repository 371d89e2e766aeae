import type { Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';

/**
 * What becomes of counted usage. `live`: it is sent. `shadow`: all is calculated and frozen and nothing sent, because another kit
 * still sends it. `invoice`: records count as invoiced outside the marketplace. `none`: it is counted and never billed.
 */
export const EMISSIONS = ['live', 'shadow', 'invoice', 'none'] as const;
export type Emission = (typeof EMISSIONS)[number];

/**
 * How a meter makes an hour's amount of its samples. `gauge_integral`: each value times the time it held (base unit: the metric's
 * unit times microseconds). The others count the metric's own unit: `max` the largest total of the hour, `latest` the total at its
 * end, `counter` what a running count rose by, `sum` amounts that are each told once.
 */
export const METER_KINDS = ['gauge_integral', 'max', 'latest', 'counter', 'sum'] as const;
export type MeterKind = (typeof METER_KINDS)[number];

/** What a sample says: a value that holds until the next one, a count since its epoch began, or an amount of its own. */
export type SampleKind = 'gauge' | 'counter' | 'delta';
/** The samples that a meter is made of: any others would be misread. */
export const SAMPLE_KIND_OF: Record<MeterKind, SampleKind> = {
  gauge_integral: 'gauge',
  max: 'gauge',
  latest: 'gauge',
  counter: 'counter',
  sum: 'delta',
};

export interface MeterTerms {
  /** Our meter's name, for example `gib_hours_stored`. One series per (subscription, meter). */
  meter: string;
  /** What sources report (`OUR_METRICS`, or whatever an importer calls it). */
  metric: string;
  kind: MeterKind;
  /** `cell`: samples with watermarks; `engine`: our own events, known at once and without gaps. */
  source: 'cell' | 'engine';
  /** The marketplace's billing key. */
  dimension: string;
  listedUnit: string;
  /** Exact ratio: base units per one listed unit (decimal text of an integer). GiB-hour = 2^30 × 3600 × 10^6 byte-microseconds. */
  basePerUnit: string;
  /** Decimals a quantity is emitted with; 0 = whole units. The rest is carried as remainder. */
  decimals: number;
  /** Included quantity in listed units (decimal text), or null. Anchored on the marketplace's own term dates. */
  included: { quantity: string; period: 'month' | 'term' | 'year' } | null;
  /** `seller`: we subtract the included quantity; `marketplace`: we report everything. */
  includedBy: 'seller' | 'marketplace';
  /** What an hour does with missing samples: carry the last value over at most 2 samples, then bill nothing; or hold. */
  gap: 'carry' | 'hold';
  billableWhileSuspended: boolean;
  /** A file says `live` or `none`; closing an hour reads it with the listing's emission over it. */
  emission: Emission;
  /** How many times the largest hour of the week before an hour may have before it is held (money.md "Implausible"); 0: any. */
  implausibleTimes?: number;
  /**
   * Labels by which a record's quantity is split for the buyer: `name` on the usage events, `as` at the marketplace. `rest` is the
   * value under which everything without a label goes, and what is more than the marketplace takes.
   */
  costSplit?: { labels: { name: string; as: string }[]; rest: string };
}

/** What cells report, and what the engine tells of a placement. Any other metric has to come from an importer. */
export const OUR_METRICS: Record<MeterTerms['source'], readonly string[]> = {
  cell: ['stored_bytes', 'egress_bytes', 'ingress_bytes', 'requests'],
  engine: ['provisioned_bytes'],
};

/** What a meter is, whatever a plan asks for it. */
export type MeterIdentity = Pick<MeterTerms, 'meter' | 'metric' | 'kind' | 'source'>;

export interface QuotaTerms {
  name: 'storage_bytes';
  unit: 'bytes';
  /** Decimal text; multiplied by the subscription's quantity where `per` is `unit`. */
  hardLimit: string;
  per: 'plan' | 'unit';
}

/**
 * Whether a plan may be sold in a region or changed to, asked of whoever knows what can be built there. The rule that refuses it, and
 * why; null: it may.
 */
export type PlanGate = (tx: Tx, plan: PlanVersion, region: string) => Promise<{ rule: string; reason: string } | null>;

/** Our immutable reading of one plan of one listing. A subscription pins one; every usage record names one. */
export interface PlanVersion {
  planVersionId: string;
  marketplace: Marketplace;
  externalOfferId: string;
  externalPlanId: string;
  version: number;
  contentHash: string;
  offerName: string;
  planName: string;
  shape: string;
  regions: { id: string; name: string }[];
  defaultRegion: string;
  /** When the marketplace is told that the purchase serves. */
  acknowledge: 'on_serving' | 'on_purchase';
  features: Record<string, boolean | string>;
  /** `dedicated`: each purchase is served on a cluster of its own; absent is `shared`. */
  isolation?: 'shared' | 'dedicated';
  /** Kinds of identity providers that a purchase binds on the data path; each takes a slot of its cluster. */
  identity?: ('active_directory' | 'ldap' | 'nis' | 'local' | 'saml' | 'oidc')[];
  /** How many units may be asked for by a change; what was bought is taken as it is. */
  quantity?: { min?: number; max?: number };
  /** How much may be built for one purchase; left out: as much as it takes. */
  build?: { maxNodes?: number; maxCostPerHour?: { amountPerHour: string; currency: string } };
  quotas: QuotaTerms[];
  meters: MeterTerms[];
}
