import { ProblemError, toPublicId, type Tx } from '#platform';
import { notASecondPerson, settlementsOf, type Person, type SettlementKind } from '../domain/finding-kinds.js';
import type { MeteringDeps } from './deps.js';
import { settleFinding } from './findings.js';
import { carryOn, loseQuarantined, resubmitItem, releaseStanding, writeOffRows } from './settlement-moves.js';
import { openCredit } from './credits.js';
import { lockFinding, type OpenFinding } from './open-finding.js';
import { checkMended } from './settlement-checks.js';

export interface SettlementWish {
  findingId: string;
  settlement: SettlementKind;
  reason: string;
  /** Invoice number (`invoice_outside`, AWS `claim_refund`) or case number (GCP `claim_refund`). */
  reference?: string;
  by: Person;
}

/**
 * Settles a finding as a person wishes and does what the settlement says: it moves rows, or refuses with words what to do. A
 * write-off is only proposed here. Answers which of both.
 */
export async function settleByPerson(tx: Tx, deps: MeteringDeps, wish: SettlementWish): Promise<'settled' | 'proposed'> {
  const finding = await lockFinding(tx, wish.findingId);
  const allowed = settlementsOf(finding.kind);
  if (!allowed.includes(wish.settlement))
    throw new ProblemError(
      'conflict',
      'finding.settlement_not_for_kind',
      `A finding of the kind ${finding.kind} is not settled by ${wish.settlement}. It may be: ${allowed.join(', ')}.`,
    );
  if (wish.settlement === 'write_off') {
    await tx.query('update findings set proposal = $2 where finding_id = $1', [
      finding.finding_id,
      JSON.stringify({ by: wish.by, reason: wish.reason, at: deps.clock.now() }),
    ]);
    return 'proposed';
  }
  const effect = await doIt(tx, deps, finding, wish);
  await settleFinding(tx, deps.clock, {
    findingId: finding.finding_id,
    words: {
      kind: wish.settlement,
      actor: wish.by.keyId,
      reason: wish.reason,
      effect,
      ...(wish.reference ? { reference: wish.reference } : {}),
    },
  });
  return 'settled';
}

/** The second person's yes to a write-off. Who that is comes from the credential alone (money.md "Corrections after the receipt"). */
export async function confirmWriteOff(
  tx: Tx,
  deps: MeteringDeps,
  input: { findingId: string; by: Person & { keyIssuedAt: Date | null } },
): Promise<void> {
  const finding = await lockFinding(tx, input.findingId);
  const { proposal } = finding;
  if (!proposal)
    throw new ProblemError(
      'conflict',
      'finding.no_proposal',
      'Nobody has proposed to write this finding off: settle it with write_off first.',
    );
  const why = notASecondPerson({ by: proposal.by, at: new Date(proposal.at) }, input.by);
  if (why)
    throw new ProblemError(
      'forbidden',
      'finding.second_person_needed',
      `A write-off needs two persons and ${why}. Let another operator confirm it with a key of their own that existed before.`,
    );
  const effect = await writeOffRows(tx, deps, finding);
  await settleFinding(tx, deps.clock, {
    findingId: finding.finding_id,
    words: { kind: 'write_off', actor: proposal.by.keyId, secondActor: input.by.keyId, reason: proposal.reason, effect },
  });
}

function doIt(tx: Tx, deps: MeteringDeps, finding: OpenFinding, wish: SettlementWish): Promise<string> {
  switch (wish.settlement) {
    case 'resubmit':
      return resubmitItem(tx, deps, finding);
    case 'carry':
      return carryOn(tx, deps, finding);
    case 'release':
      return releaseStanding(tx, deps, finding);
    case 'fix_mapping':
      return checkMended(tx, finding);
    case 'claim_refund':
      return claimRefund(tx, deps, finding, wish);
    case 'invoice_outside':
      return invoicedOutside(tx, deps, finding, wish);
    case 'write_off':
      throw new Error('a write-off is confirmed, not done at once');
  }
}

async function invoicedOutside(tx: Tx, deps: MeteringDeps, finding: OpenFinding, wish: SettlementWish): Promise<string> {
  if (!wish.reference)
    throw new ProblemError(
      'validation',
      'finding.reference_missing',
      'Name the invoice in `reference`: without it nobody can see later that this was paid outside the marketplace.',
    );
  await loseQuarantined(tx, deps, finding);
  return `invoiced outside the marketplace: ${wish.reference}`;
}

async function claimRefund(tx: Tx, deps: MeteringDeps, finding: OpenFinding, wish: SettlementWish): Promise<string> {
  if (!finding.tenant_id || !finding.subscription_id || !finding.dimension || !finding.hour || !finding.units)
    throw new ProblemError(
      'conflict',
      'finding.nothing_to_claim',
      'This finding names no purchase, dimension, hour and units of ours, so there is nothing to give back. Settle it another way.',
    );
  const credit = await openCredit(tx, deps, {
    tenantId: finding.tenant_id,
    subscriptionId: finding.subscription_id,
    findingId: finding.finding_id,
    recordId: null,
    dimension: finding.dimension,
    hour: finding.hour,
    units: finding.units,
    reference: wish.reference ?? null,
    reason: wish.reason,
    by: wish.by.keyId,
  });
  return `credit ${toPublicId('crd', credit.creditId)} is open: ${credit.toDo}`;
}
