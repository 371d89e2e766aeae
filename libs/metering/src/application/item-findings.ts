import { fromUs, instantText, unitsText } from '../domain/units.js';
import type { OpenItem } from '../infra/items.sql.js';
import type { NewFinding } from './findings.js';

/** The finding of an item's loss; `amount` in base units. */
export const lossFindingOf = (
  item: OpenItem,
  cause: 'quarantined' | 'expired' | 'missed_window' | 'suspended_unbillable',
  amount: bigint,
  evidence: Record<string, unknown>,
): NewFinding => ({
  kind: `loss.${cause}`,
  dedupeKey: `loss:${cause}:${item.item_id}`,
  tenantId: item.tenant_id,
  subscriptionId: item.subscription_id,
  dimension: item.dimension,
  hour: fromUs(BigInt(item.hour_us)),
  units: unitsText(amount, BigInt(item.base_per_unit)),
  deadline: item.hard_at,
  evidence: { itemId: item.item_id, baseQuantity: amount.toString(), ...evidence },
});

export const unknownFinding = (item: OpenItem, code: string): NewFinding => ({
  kind: 'unknown_outcome',
  // A resubmission that is lost again is a finding of its own.
  dedupeKey: `unknown_outcome:${item.item_id}:${item.attempts}`,
  tenantId: item.tenant_id,
  subscriptionId: item.subscription_id,
  dimension: item.dimension,
  hour: fromUs(BigInt(item.hour_us)),
  units: unitsText(BigInt(item.base_quantity), BigInt(item.base_per_unit)),
  deadline: item.hard_at,
  evidence: { itemId: item.item_id, code, hour: instantText(BigInt(item.hour_us)) },
});
