import { ProblemError, type Tx } from '#platform';
import type { FindingKind, Person } from '../domain/finding-kinds.js';

export interface OpenFinding extends Record<string, unknown> {
  finding_id: string;
  kind: FindingKind;
  tenant_id: string | null;
  subscription_id: string | null;
  dimension: string | null;
  hour: Date | null;
  units: string | null;
  evidence: Record<string, unknown>;
  settled: boolean;
  raised_at: Date;
  proposal: { by: Person; reason: string; at: string } | null;
  marketplace: string | null;
}

export async function lockFinding(tx: Tx, findingId: string): Promise<OpenFinding> {
  const [row] = await tx.query<OpenFinding>(
    `select f.finding_id, f.kind, f.tenant_id, f.subscription_id, f.dimension, f.hour, f.units::text, f.evidence, f.settlement is not null as settled, f.proposal, f.raised_at,
            coalesce(f.evidence ->> 'marketplace', (select max(s.marketplace) from series s where s.subscription_id = f.subscription_id)) as marketplace
       from findings f where f.finding_id = $1 for update of f`,
    [findingId],
  );
  if (!row) throw new ProblemError('not_found', 'finding.unknown', 'There is no such finding.');
  if (row.settled) throw new ProblemError('conflict', 'finding.already_settled', 'This finding has a settlement; it stays.');
  return row;
}
