import type { Clock, Tx } from '#platform';
import { raiseFindings, settleFinding, type NewFinding } from './findings.js';

/** A difference that a comparison sees anew in every run; `subject` names what differs, the same in each. */
export type StandingFinding = Omit<NewFinding, 'dedupeKey'> & { subject: string };
export interface OpenStanding extends Record<string, unknown> {
  finding_id: string;
  kind: string;
  subject: string;
  evidence: Record<string, unknown>;
}

/** Open findings of one comparison. */
export function openStanding(tx: Tx, comparison: string): Promise<OpenStanding[]> {
  return tx.query<OpenStanding>(
    `select finding_id, kind, evidence ->> 'subject' as subject, evidence from findings where evidence ->> 'comparison' = $1 and settlement is null order by finding_id`,
    [comparison],
  );
}

/** Opens what has no open finding yet; the same difference is one finding until it was gone. Answers how many are new. */
export async function openDifferences(
  tx: Tx,
  clock: Clock,
  input: { comparison: string; runId: string; differs: readonly StandingFinding[] },
): Promise<number> {
  const known = new Set((await openStanding(tx, input.comparison)).map((f) => `${f.kind}|${f.subject}`));
  return raiseFindings(
    tx,
    clock,
    input.differs
      .filter((d) => !known.has(`${d.kind}|${d.subject}`))
      .map(({ subject, evidence, ...d }) => ({
        ...d,
        dedupeKey: `${d.kind}:${input.comparison}:${subject}:${input.runId}`,
        evidence: { ...evidence, comparison: input.comparison, subject, runId: input.runId },
      })),
  );
}

/** A difference that a later comparison does not see any more settles itself; what it was stays with it. */
export async function closeAgreeing(
  tx: Tx,
  clock: Clock,
  input: { findingIds: readonly string[]; runId: string; effect: string; reason?: string },
): Promise<void> {
  for (const findingId of input.findingIds)
    await settleFinding(tx, clock, {
      findingId,
      words: {
        kind: 'fix_mapping',
        actor: `reconciliation:${input.runId}`,
        reason: input.reason ?? 'a later comparison agrees',
        effect: input.effect,
      },
    });
}

/** Open findings about lines that this comparison with the marketplace shows as equal. Money that was claimed is a person's business. */
export async function agreeingLineFindings(tx: Tx, reconciliationId: string): Promise<string[]> {
  const rows = await tx.query<{ finding_id: string }>(
    `select f.finding_id from findings f
       join reconciliations now on now.reconciliation_id = $1
       join reconciliations was on was.reconciliation_id::text = f.evidence ->> 'reconciliationId' and was.marketplace = now.marketplace
       join reconciliation_lines l on l.reconciliation_id = now.reconciliation_id and l.verdict = 'equal'
            and l.external_subscription_id = f.evidence ->> 'externalSubscriptionId' and l.external_plan_id = f.evidence ->> 'externalPlanId'
            and l.dimension = f.dimension and l.period_start = f.hour and l.period_end = (f.evidence ->> 'to')::timestamptz
      where f.settlement is null and f.kind like 'drift.%' and now.state = 'completed'`,
    [reconciliationId],
  );
  return rows.map((r) => r.finding_id);
}
