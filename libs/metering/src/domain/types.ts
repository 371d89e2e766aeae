import type { CostPart, UsageTraits } from '#marketplaces/core';
import type { Emission, MeterTerms } from '#entitlements';

/** All amounts are integers in the meter's base unit; all instants UTC microseconds. */
export type Quality = 'measured' | 'estimated';

export interface MeterHour {
  meter: string;
  kind: MeterTerms['kind'];
  source: MeterTerms['source'];
  hourStart: bigint;
  /** The end of the subscription, null while it goes on. Nothing after it is measured. */
  endedAt: bigint | null;
  /** Where the slowest bound source stands if it is behind the end of the hour (hold limit reached); null if none is. */
  watermark: bigint | null;
  traits: Pick<UsageTraits, 'hourKey' | 'zeroWanted' | 'maxQuantity' | 'maxDecimals'>;
  /** Largest capacity the subscription was ever entitled to; null if no plan limits it. */
  capacityBytes: bigint | null;
  /** No source can carry more bytes per second. */
  lineRateBytesPerSecond: bigint;
  /** Those the hour is closed by, or was closed by (`CLOSING_RULES`). */
  rules: number;
}

/** A segment with its own reading of this meter; `terms` is null where its plan does not have the meter. */
export interface HourSegment {
  segmentId: string;
  startsAt: bigint;
  endsAt: bigint | null;
  planVersionId: string;
  externalPlanId: string;
  billable: boolean;
  termStartsAt: bigint | null;
  termEndsAt: bigint | null;
  /** As pinned. What becomes of usage is told by `emissionAt`, which looks at the listing too. */
  terms: MeterTerms | null;
  /** The emission from each instant on, oldest first; before the first, and where absent, that of the terms. */
  emissions?: { from: bigint; emission: Emission }[];
}

export interface Sample {
  at: bigint;
  value: bigint;
  epoch: string;
  sequence: bigint;
}

/** The samples of one placement. Order does not matter. */
export interface StreamSamples {
  stream: string;
  /** When the placement began and ceased to belong to the subscription. */
  from: bigint;
  until: bigint | null;
  /** What was last reported before it began, where the placement served another subscription earlier. */
  baseline: StreamState | null;
  samples: Sample[];
}

export interface StreamState {
  at: bigint;
  value: bigint;
  epoch: string;
  sequence: bigint;
}
/** Emitted quanta and everything billable so far, both cumulative within the segment: the remainder is their difference. */
export interface SegmentState {
  cumulative: bigint;
  emitted: bigint;
}
/** Included quantity used up, and usage beyond it, within one term window. */
export interface WindowState {
  consumed: bigint;
  overage: bigint;
}

/** What one hour hands to the next. */
export interface Opening {
  streams: Record<string, StreamState>;
  segments: Record<string, SegmentState>;
  windows: Record<string, WindowState>;
  capacityBytes: bigint | null;
}
export const emptyOpening = (): Opening => ({ streams: {}, segments: {}, windows: {}, capacityBytes: null });

/**
 * An amount of an earlier hour for a later one of its own segment. `usage` still draws on the included quantity of its own
 * term (late samples and their corrections); `billable` has done so (deferrals, credits left over).
 */
export interface CarryIn {
  carryInId: string;
  segmentId: string;
  kind: 'deferred' | 'late' | 'credit';
  stage: 'usage' | 'billable';
  fromHour: bigint;
  amount: bigint;
}
export type CarryInDraft = Omit<CarryIn, 'carryInId'> & { cause: string };

export type LedgerTerm =
  | 'measured'
  | 'estimated'
  | 'adjustment'
  | 'non_billable'
  | 'included'
  | 'pending'
  | 'accepted'
  | 'over_reported'
  | 'deferred'
  | 'remainder'
  | 'loss';

/** Why a record is never sent: also the cause of its `non_billable` entry. */
export type Unsent = 'shadow' | 'invoiced_outside';

/** One row of the sum law. `ref` names the carry-in it belongs to, '' for the closing itself. */
export interface EntryDraft {
  segmentId: string | null;
  term: LedgerTerm;
  cause: string;
  ref: string;
  quantity: bigint;
}

export interface RecordDraft {
  segmentId: string;
  dimension: string;
  listedUnit: string;
  planVersionId: string;
  externalPlanId: string;
  baseQuantity: bigint;
  /** Exact decimal text in listed units, with `decimals` decimals. */
  quantity: string;
  decimals: number;
  basePerUnit: bigint;
  startsAt: bigint;
  endsAt: bigint;
  quality: Quality;
  hold: 'implausible' | 'gap' | null;
  /** Present where it is never sent, and why. */
  unsent?: Unsent;
  /** Present where its plan splits it by labels; adds up to `quantity`. */
  costSplit?: CostPart[];
}

export type LossCause = 'residue' | 'missed_window' | 'month_cut';
export interface Loss {
  segmentId: string;
  cause: LossCause;
  amount: bigint;
  ref: string;
}
export interface HourFinding {
  kind: 'gap_estimated' | 'held_implausible' | 'int32_overflow' | 'over_reported';
  segmentId: string | null;
  amount: bigint;
  evidence: Record<string, string>;
}

export interface HourClose {
  records: RecordDraft[];
  /** The opening of the next hour. */
  closing: Opening;
  losses: Loss[];
  entries: EntryDraft[];
  carryIns: CarryInDraft[];
  consumed: string[];
  findings: HourFinding[];
  quality: Quality;
}
