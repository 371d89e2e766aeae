import { toPublicId } from '#platform';
import type { SubmissionRow, SumLawRow, UsageRecordRow } from '#metering';

const at = (d: Date | null): string | null => d?.toISOString() ?? null;

export const usageRecordView = (r: UsageRecordRow): Record<string, unknown> => ({
  id: toPublicId('rec', r.record_id),
  tenantId: toPublicId('ten', r.tenant_id),
  subscriptionId: toPublicId('sub', r.subscription_id),
  segmentId: toPublicId('seg', r.segment_id),
  marketplace: r.marketplace,
  meter: r.meter,
  dimension: r.dimension,
  hour: at(r.hour),
  planId: r.external_plan_id,
  planVersionId: r.plan_version_id,
  quantity: r.quantity,
  listedUnit: r.listed_unit,
  baseQuantity: r.base_quantity,
  quality: r.quality,
  startsAt: at(r.starts_at),
  endsAt: at(r.ends_at),
  closedAt: at(r.closed_at),
  submissionState: r.submission_state,
  costSplit: r.parts,
});

export const submissionView = (s: SubmissionRow): Record<string, unknown> => ({
  id: toPublicId('itm', s.item_id),
  recordId: toPublicId('rec', s.record_id),
  tenantId: toPublicId('ten', s.tenant_id),
  subscriptionId: toPublicId('sub', s.subscription_id),
  marketplace: s.marketplace,
  dimension: s.dimension,
  hour: at(s.hour),
  quantity: s.quantity,
  state: s.state,
  holdReason: s.hold_reason,
  targetDeadline: at(s.target_at),
  hardDeadline: at(s.hard_at),
  lastCode: s.last_code,
  receipt: s.receipt,
  acceptedQuantity: s.accepted_quantity,
  settledAt: at(s.settled_at),
  attempts: s.attempts.map(({ attemptId, ...a }) => ({ id: toPublicId('att', attemptId), ...a })),
});

export const sumLawView = (s: SumLawRow): Record<string, unknown> => {
  const t = s.terms as unknown as Record<string, string>;
  return {
    subscriptionId: toPublicId('sub', s.subscriptionId),
    meter: s.meter,
    dimension: s.dimension,
    listedUnit: s.listedUnit,
    basePerUnit: s.basePerUnit,
    terms: {
      measured: t['measured'],
      estimated: t['estimated'],
      adjustments: t['adjustment'],
      nonBillable: t['non_billable'],
      included: t['included'],
      accepted: t['accepted'],
      overReported: t['over_reported'],
      pending: t['pending'],
      deferred: t['deferred'],
      remainder: t['remainder'],
      loss: t['loss'],
    },
    difference: s.difference,
  };
};
