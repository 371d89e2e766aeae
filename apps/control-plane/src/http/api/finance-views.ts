import { toPublicId } from '#platform';
import { claimBy, settlementsOf, type CreditRow, type FindingKind, type FindingRow, type Money, type StoredPrice } from '#metering';

const at = (d: Date | null): string | null => d?.toISOString() ?? null;

export const priceView = (p: StoredPrice): Record<string, unknown> => ({
  id: toPublicId('prc', p.priceId),
  marketplace: p.marketplace,
  offerId: p.externalOfferId,
  planId: p.externalPlanId,
  dimension: p.dimension,
  subscriptionId: p.subscriptionId ? toPublicId('sub', p.subscriptionId) : null,
  currency: p.currency,
  unitPrice: p.unitPrice,
  effectiveFrom: at(p.effectiveFrom),
  source: p.source,
  recordedAt: at(p.recordedAt),
  recordedBy: p.recordedBy,
});

/** An amount with the price it rests on, or the name of what is missing. Never 0 for "unknown". */
export const moneyView = (money: Money | null): Record<string, unknown> =>
  money === null
    ? { amount: null, currency: null, price: null }
    : money === 'price_unknown'
      ? { amount: null, currency: null, price: 'price_unknown' }
      : {
          amount: money.amount,
          currency: money.price.currency,
          price: {
            unitPrice: money.price.unitPrice,
            source: money.price.source,
            effectiveFrom: at(money.price.effectiveFrom),
            provisional: money.price.provisional,
          },
        };

export const findingView = (f: FindingRow, money: Money | null): Record<string, unknown> => ({
  id: toPublicId('fin', f.finding_id),
  kind: f.kind,
  tenantId: f.tenant_id ? toPublicId('ten', f.tenant_id) : null,
  subscriptionId: f.subscription_id ? toPublicId('sub', f.subscription_id) : null,
  marketplace: f.marketplace,
  dimension: f.dimension,
  hour: at(f.hour),
  units: f.units,
  ...moneyView(money),
  deadline: at(f.deadline),
  claimBy: at(claimBy(f.kind, f.marketplace, f.hour)),
  evidence: f.evidence,
  maySettle: f.settlement ? [] : settlementsOf(f.kind as FindingKind),
  proposal: f.proposal,
  settlement: f.settlement,
  state: f.settlement ? 'settled' : f.proposal ? 'proposed' : 'open',
  raisedAt: at(f.raised_at),
  settledAt: at(f.settled_at),
});

export const creditView = (c: CreditRow): Record<string, unknown> => ({
  id: toPublicId('crd', c.credit_id),
  tenantId: toPublicId('ten', c.tenant_id),
  subscriptionId: toPublicId('sub', c.subscription_id),
  marketplace: c.marketplace,
  recordId: c.record_id ? toPublicId('rec', c.record_id) : null,
  findingId: c.finding_id ? toPublicId('fin', c.finding_id) : null,
  dimension: c.dimension,
  hour: at(c.hour),
  units: c.units,
  amount: c.amount,
  currency: c.currency,
  ...(c.amount === null ? { price: 'price_unknown' } : {}),
  channel: c.channel,
  invoiceReference: c.invoice_reference,
  externalReference: c.external_reference,
  reason: c.reason,
  state: c.state,
  claimBy: at(c.deadline),
  createdBy: c.created_by,
  createdAt: at(c.created_at),
  outcome: c.outcome,
  endedAt: at(c.ended_at),
});
