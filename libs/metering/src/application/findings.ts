import { ProblemError, uuidv7, type Clock, type Tx } from '#platform';
import { SETTLEMENTS, type FindingKind, type SettlementKind } from '../domain/finding-kinds.js';

export { FINDING_KINDS, SETTLEMENTS, type FindingKind, type SettlementKind } from '../domain/finding-kinds.js';

export interface NewFinding {
  kind: FindingKind;
  /** The same difference raised again is the same finding. */
  dedupeKey: string;
  /** It is another one where a person has settled the one before and it still holds: what stands still is never silent. */
  again?: true;
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
export const credentialsRefused = (marketplace: string, now: Date, detail: string, whose: 'api' | 'sign_in' = 'api'): NewFinding => ({
  kind: 'secret_expiring',
  dedupeKey: `credentials_refused:${marketplace}${whose === 'api' ? '' : `.${whose}`}:${now.toISOString().slice(0, 10)}`,
  deadline: now,
  evidence: {
    marketplace,
    what:
      whose === 'api'
        ? 'the marketplace refuses our credentials'
        : 'the credentials of the application are refused with which buyers sign in',
    detail: detail.slice(0, 500),
    remedy: `berth doctor ${marketplace}`,
  },
});

/** Of the finding `f`: how many of the same were settled. */
const SETTLED_BEFORE = `(select count(*) from findings o where o.subscription_id = f.subscription_id and o.kind = f.kind and o.settlement is not null
         and (o.dedupe_key = f.dedupe_key or starts_with(o.dedupe_key, f.dedupe_key || '#')))`;

/** Raises each finding once; answers how many are new. */
export async function raiseFindings(tx: Tx, clock: Clock, findings: NewFinding[]): Promise<number> {
  if (findings.length === 0) return 0;
  const rows = await tx.query(
    `insert into findings (finding_id, dedupe_key, kind, tenant_id, subscription_id, dimension, hour, units, amount, currency, deadline, evidence, raised_at)
     select f.finding_id, case when f.again then f.dedupe_key || coalesce('#' || nullif(${SETTLED_BEFORE}, 0), '') else f.dedupe_key end, f.kind, f.tenant_id, f.subscription_id, f.dimension, f.hour, f.units, f.amount, f.currency, f.deadline, f.evidence, $2
       from jsonb_to_recordset($1::jsonb) as f(finding_id uuid, dedupe_key text, kind text, tenant_id uuid, subscription_id uuid, dimension text, hour timestamptz,
            units numeric, amount numeric, currency text, deadline timestamptz, evidence jsonb, again boolean)
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
          again: f.again ?? false,
        })),
      ),
      clock.now(),
    ],
  );
  return rows.length;
}

/** What a settlement says for good. */
export interface SettlementWords {
  kind: SettlementKind;
  actor: string;
  reason: string;
  /** Invoice, claim or case outside this house. */
  reference?: string;
  /** Who else stands for it (write-offs). */
  secondActor?: string;
  /** What it moved, for people. */
  effect?: string;
}

/**
 * Writes down that a finding is settled, and nothing else: for flows that have done what they say themselves. A person's wish
 * goes through `settleByPerson`, which does it.
 */
export async function settleFinding(tx: Tx, clock: Clock, input: { findingId: string; words: SettlementWords }): Promise<void> {
  const { words } = input;
  if (!SETTLEMENTS.includes(words.kind))
    throw new ProblemError('validation', 'finding.unknown_settlement', `settlement must be one of ${SETTLEMENTS.join(', ')}`);
  if (words.reason.trim() === '') throw new ProblemError('validation', 'finding.reason_missing', 'a settlement needs a reason');
  const now = clock.now();
  const rows = await tx.query(
    `update findings set settlement = $2, settled_at = $3, proposal = null where finding_id = $1 and settlement is null returning 1`,
    [input.findingId, JSON.stringify({ ...words, at: now }), now],
  );
  if (rows.length > 0) return;
  const [found] = await tx.query('select 1 from findings where finding_id = $1', [input.findingId]);
  throw found
    ? new ProblemError('conflict', 'finding.already_settled', 'this finding has a settlement')
    : new ProblemError('not_found', 'finding.unknown', 'there is no such finding');
}
