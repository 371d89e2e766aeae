/** A stretch of a subscription under one plan version, quantity, licence and term (money.md "Segments"). Half-open in time. */
export interface Segment {
  segmentId: string;
  subscriptionId: string;
  tenantId: string;
  /** 1, 2, 3 … within the subscription. */
  sequence: number;
  startsAt: Date;
  /** Null while it is the current one. */
  endsAt: Date | null;
  planVersionId: string;
  externalPlanId: string;
  quantity: number | null;
  /** False while suspended: usage in it is named `suspended_unbillable` unless the plan says otherwise. */
  billable: boolean;
  /** The cut that began it: `activated`, `plan_change`, `quantity_change`, `renewal`, `suspension`, `reinstatement`. */
  reason: string;
  termStartsAt: Date | null;
  termEndsAt: Date | null;
}
