/** The closed list of money.md "Findings", and after it what a person must know of beside money. */
export const FINDING_KINDS = [
  'loss.residue',
  'loss.suspended_unbillable',
  'loss.missed_window',
  'loss.expired',
  'loss.event_too_old',
  'loss.month_cut',
  'loss.quarantined',
  'over_reported',
  'duplicate_conflict',
  'unknown_outcome',
  'held_implausible',
  'gap_estimated',
  'clock_skew',
  'paid_not_serving',
  'serving_not_paid',
  'activate_by_near',
  'drift.missing_there',
  'drift.missing_here',
  'drift.state',
  'drift.plan',
  'drift.quantity',
  'unmapped_plan',
  'int32_overflow',
  'price_unknown',
  'lane_parked',
  'secret_expiring',
  'succession',
  'channel_lost',
  'change_in_force',
  'drift.failed',
  'suspended_long',
  'usage_unbuilt',
  'marketplace_stuck',
  'unjoined_purchase',
  'not_ready',
  'eta_after_deadline',
  'export_unconfirmed',
  'room_exceeded',
] as const;
export type FindingKind = (typeof FINDING_KINDS)[number];

export const SETTLEMENTS = ['resubmit', 'carry', 'release', 'write_off', 'claim_refund', 'invoice_outside', 'fix_mapping'] as const;
export type SettlementKind = (typeof SETTLEMENTS)[number];

const LOST: SettlementKind[] = ['write_off', 'invoice_outside'];
const MAY_MOVE: SettlementKind[] = ['carry', ...LOST];
const TOO_MUCH: SettlementKind[] = ['claim_refund', 'write_off'];
const OURS_TO_MEND: SettlementKind[] = ['release', 'write_off'];

/**
 * How each kind may be settled (money.md "Corrections after the receipt"). What a settlement then asks of the rows is the use
 * case's business. A residue, what fell out of its month and what was used while suspended are never carried (money.md
 * "Remainder", "Month end", "Suspend"); what may have been taken is never invoiced a second time.
 */
const MAY_SETTLE: Record<FindingKind, readonly SettlementKind[]> = {
  'loss.residue': LOST,
  'loss.suspended_unbillable': LOST,
  'loss.missed_window': MAY_MOVE,
  'loss.expired': MAY_MOVE,
  'loss.event_too_old': LOST,
  'loss.month_cut': LOST,
  // Held until its deadline where a whole batch was refused for it: then the same bytes may go out again.
  'loss.quarantined': ['resubmit', ...MAY_MOVE],
  over_reported: TOO_MUCH,
  duplicate_conflict: TOO_MUCH,
  unknown_outcome: ['resubmit', 'write_off'],
  held_implausible: OURS_TO_MEND,
  gap_estimated: OURS_TO_MEND,
  clock_skew: OURS_TO_MEND,
  paid_not_serving: OURS_TO_MEND,
  serving_not_paid: OURS_TO_MEND,
  activate_by_near: OURS_TO_MEND,
  'drift.missing_there': ['fix_mapping', ...LOST],
  'drift.missing_here': ['fix_mapping', ...TOO_MUCH],
  'drift.state': ['fix_mapping', ...OURS_TO_MEND],
  'drift.plan': ['fix_mapping', ...OURS_TO_MEND],
  'drift.quantity': ['fix_mapping', 'claim_refund', ...LOST],
  unmapped_plan: ['fix_mapping', 'write_off'],
  int32_overflow: OURS_TO_MEND,
  price_unknown: ['fix_mapping', 'write_off'],
  lane_parked: OURS_TO_MEND,
  secret_expiring: OURS_TO_MEND,
  succession: OURS_TO_MEND,
  channel_lost: OURS_TO_MEND,
  change_in_force: OURS_TO_MEND,
  'drift.failed': OURS_TO_MEND,
  suspended_long: OURS_TO_MEND,
  usage_unbuilt: OURS_TO_MEND,
  marketplace_stuck: OURS_TO_MEND,
  unjoined_purchase: OURS_TO_MEND,
  not_ready: OURS_TO_MEND,
  eta_after_deadline: OURS_TO_MEND,
  export_unconfirmed: OURS_TO_MEND,
  room_exceeded: OURS_TO_MEND,
};

export const settlementsOf = (kind: FindingKind): readonly SettlementKind[] => MAY_SETTLE[kind];

/** Azure takes claims of over-reporting by hand within 30 days of the usage (contract azure §6); null where there is no such date. */
export function claimBy(kind: string, marketplace: string | null, hour: Date | null): Date | null {
  const claimable = (MAY_SETTLE as Record<string, readonly SettlementKind[]>)[kind]?.includes('claim_refund');
  return claimable && marketplace === 'azure' && hour ? new Date(hour.getTime() + 30 * 86_400_000) : null;
}

export interface Person {
  keyId: string;
  /** Who holds the key (an operator key is a named person's). */
  name: string;
}
export interface Proposal {
  by: Person;
  at: Date;
}

/**
 * Why these two are not two persons, or null. Both come from their credentials. A key that was made after the proposal proves
 * nobody: whoever proposed could have made it for the purpose.
 */
export function notASecondPerson(first: Proposal, second: Person & { keyIssuedAt: Date | null }): string | null {
  if (first.by.keyId === second.keyId) return 'the same key proposed it';
  if (first.by.name.trim().toLowerCase() === second.name.trim().toLowerCase()) return `both keys are ${first.by.name}'s`;
  if (second.keyIssuedAt !== null && second.keyIssuedAt > first.at) return 'this key is younger than the proposal';
  return null;
}
