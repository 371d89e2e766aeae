import { ProblemError, uuidv7, type Clock, type Tx } from '#platform';

/** The closed list of money.md "Findings". */
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
] as const;
export type FindingKind = (typeof FINDING_KINDS)[number];

export const SETTLEMENTS = ['resubmit', 'carry', 'release', 'write_off', 'claim_refund', 'invoice_outside', 'fix_mapping'] as const;
export type SettlementKind = (typeof SETTLEMENTS)[number];

export interface NewFinding {
  kind: FindingKind;
  /** The same difference raised again is the same finding. */
  dedupeKey: string;
  tenantId?: string | null;
  subscriptionId?: string | null;
  dimension?: string | null;
  hour?: Date | null;
  /** Decimal text in listed units. */
  units?: string | null;
  amount?: string | null;
  currency?: string | null;
  deadline?: Date | null;
  evidence: Record<string, unknown>;
}

/** The marketplace does not take our credentials: nothing of it goes on until they are mended. One a marketplace and day. */
export const credentialsRefused = (marketplace: string, now: Date, detail: string): NewFinding => ({
  kind: 'secret_expiring',
  dedupeKey: `credentials_refused:${marketplace}:${now.toISOString().slice(0, 10)}`,
  deadline: now,
  evidence: {
    marketplace,
    what: 'the marketplace refuses our credentials',
    detail: detail.slice(0, 500),
    remedy: `berth doctor ${marketplace}`,
  },
});

/** Raises each finding once; answers how many are new. */
export async function raiseFindings(tx: Tx, clock: Clock, findings: NewFinding[]): Promise<number> {
  if (findings.length === 0) return 0;
  const rows = await tx.query(
    `insert into findings (finding_id, dedupe_key, kind, tenant_id, subscription_id, dimension, hour, units, amount, currency, deadline, evidence, raised_at)
     select f.finding_id, f.dedupe_key, f.kind, f.tenant_id, f.subscription_id, f.dimension, f.hour, f.units, f.amount, f.currency, f.deadline, f.evidence, $2
       from jsonb_to_recordset($1::jsonb) as f(finding_id uuid, dedupe_key text, kind text, tenant_id uuid, subscription_id uuid, dimension text, hour timestamptz,
            units numeric, amount numeric, currency text, deadline timestamptz, evidence jsonb)
     on conflict (dedupe_key) do nothing returning finding_id`,
    [
      JSON.stringify(
        findings.map((f) => ({
          finding_id: uuidv7(),
          dedupe_key: f.dedupeKey,
          kind: f.kind,
          tenant_id: f.tenantId ?? null,
          subscription_id: f.subscriptionId ?? null,
          dimension: f.dimension ?? null,
          hour: f.hour ?? null,
          units: f.units ?? null,
          amount: f.amount ?? null,
          currency: f.currency ?? null,
          deadline: f.deadline ?? null,
          evidence: f.evidence,
        })),
      ),
      clock.now(),
    ],
  );
  return rows.length;
}

/** Records how a person settled a finding. A second person for write-offs comes with the marketplaces' money (later issue). */
export async function settleFinding(
  tx: Tx,
  clock: Clock,
  input: { findingId: string; settlement: SettlementKind; actor: string; reason: string },
): Promise<void> {
  if (!SETTLEMENTS.includes(input.settlement))
    throw new ProblemError('validation', 'finding.unknown_settlement', `settlement must be one of ${SETTLEMENTS.join(', ')}`);
  if (input.reason.trim() === '') throw new ProblemError('validation', 'finding.reason_missing', 'a settlement needs a reason');
  const now = clock.now();
  const rows = await tx.query(
    `update findings set settlement = $2, settled_at = $3 where finding_id = $1 and settlement is null returning 1`,
    [input.findingId, JSON.stringify({ kind: input.settlement, actor: input.actor, reason: input.reason, at: now }), now],
  );
  if (rows.length > 0) return;
  const [found] = await tx.query('select 1 from findings where finding_id = $1', [input.findingId]);
  throw found
    ? new ProblemError('conflict', 'finding.already_settled', 'this finding has a settlement')
    : new ProblemError('not_found', 'finding.unknown', 'there is no such finding');
}
