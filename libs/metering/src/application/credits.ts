import { compareDecimals, ProblemError, uuidv7, type Tx } from '#platform';
import { getSubscription } from '#entitlements';
import { claimBy } from '../domain/finding-kinds.js';
import { PriceBook } from '../infra/prices.sql.js';
import type { MeteringDeps } from './deps.js';

export type CreditChannel = 'azure_claim' | 'aws_billing_adjustment' | 'gcp_case';
export interface CreditRow extends Record<string, unknown> {
  credit_id: string;
  tenant_id: string;
  subscription_id: string;
  marketplace: string;
  record_id: string | null;
  finding_id: string | null;
  dimension: string;
  hour: Date;
  units: string;
  amount: string | null;
  currency: string | null;
  channel: CreditChannel;
  invoice_reference: string | null;
  external_reference: string | null;
  reason: string;
  state: 'open' | 'completed' | 'failed';
  deadline: Date | null;
  created_by: string;
  created_at: Date;
  outcome: Record<string, unknown> | null;
  ended_at: Date | null;
}
const COLUMNS = `credit_id, tenant_id, subscription_id, marketplace, record_id, finding_id, dimension, hour, units::text, amount::text, currency, channel, invoice_reference, external_reference,
  reason, state, deadline, created_by, created_at, outcome, ended_at`;

export interface NewCredit {
  tenantId: string;
  subscriptionId: string;
  findingId: string | null;
  recordId: string | null;
  dimension: string;
  hour: Date;
  units: string;
  /** AWS adjusts an invoice and wants its number (contract aws §7); Google gives a case number (money.md "Corrections"). */
  reference: string | null;
  reason: string;
  by: string;
}

/** How a credit is asked for at each marketplace; none of them is asked by us. */
const WAYS: Record<string, { channel: CreditChannel; toDo: string }> = {
  azure: { channel: 'azure_claim', toDo: 'claim it by hand in Partner Center (usage anomaly) before the date shown' },
  aws: { channel: 'aws_billing_adjustment', toDo: 'request a billing adjustment for the invoice in the Agreements API or console' },
  gcp: { channel: 'gcp_case', toDo: 'follow the case with Google' },
};

/** Opens a credit beside the records it is about. Records, receipts and the ledger stay as they are. */
export async function openCredit(tx: Tx, deps: MeteringDeps, c: NewCredit): Promise<{ creditId: string; toDo: string }> {
  const marketplace = (await getSubscription(tx, c.subscriptionId))?.marketplace ?? '';
  const way = WAYS[marketplace];
  if (!way) throw new ProblemError('conflict', 'credit.no_way', 'No marketplace of this purchase is known, so nobody can be asked.');
  const now = deps.clock.now();
  const deadline = claimBy('over_reported', marketplace, c.hour);
  if (compareDecimals(c.units, '0') <= 0) throw new ProblemError('validation', 'credit.units', 'A credit gives back more than 0 units.');
  if (deadline && deadline < now)
    throw new ProblemError(
      'conflict',
      'credit.too_late',
      `The marketplace took claims for this hour until ${deadline.toISOString().slice(0, 10)}. Give it back outside the marketplace, and write the finding off.`,
    );
  if (c.recordId) await withinAccepted(tx, c.recordId, c.units);
  if (marketplace === 'aws' && !c.reference)
    throw new ProblemError('validation', 'credit.invoice_missing', 'AWS adjusts an invoice: name the original one in `reference`.');
  if (marketplace === 'gcp' && !c.reference)
    throw new ProblemError(
      'validation',
      'credit.case_missing',
      'Google adjusts by a case: open one there and name its number in `reference`.',
    );
  const money = (await PriceBook.load(tx, [c.subscriptionId])).money(c.subscriptionId, c.dimension, c.hour, c.units);
  const creditId = uuidv7();
  await tx.query(
    `insert into credits (credit_id, tenant_id, subscription_id, marketplace, record_id, finding_id, dimension, hour, units, amount, currency, channel, invoice_reference, external_reference,
                          reason, state, deadline, created_by, created_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9::numeric, $10::numeric, $11, $12, $13, $14, $15, 'open', $16, $17, $18)`,
    [
      creditId,
      c.tenantId,
      c.subscriptionId,
      marketplace,
      c.recordId,
      c.findingId,
      c.dimension,
      c.hour,
      c.units,
      money === 'price_unknown' ? null : money.amount,
      money === 'price_unknown' ? null : money.price.currency,
      way.channel,
      marketplace === 'aws' ? c.reference : null,
      marketplace === 'gcp' ? c.reference : null,
      c.reason,
      deadline,
      c.by,
      now,
    ],
  );
  return { creditId, toDo: way.toDo };
}

/** All credits of one record together give back at most what the marketplace accepted of it. */
async function withinAccepted(tx: Tx, recordId: string, units: string): Promise<void> {
  // A statement of its own: one that waits for the lock sees no credit that was given meanwhile.
  await tx.query('select 1 from submission_items where record_id = $1 for update', [recordId]);
  const [row] = await tx.query<{ over: boolean }>(
    `select coalesce((select sum(units) from credits where record_id = $1 and state <> 'failed'), 0) + $2::numeric > coalesce(i.accepted_quantity, 0) as over
       from submission_items i where i.record_id = $1`,
    [recordId, units],
  );
  if (row?.over !== false)
    throw new ProblemError('conflict', 'credit.more_than_accepted', 'That is more than the marketplace accepted of this record.');
}

export async function listCredits(
  tx: Tx,
  q: { limit: number; after: string | null; subscriptionId?: string; state?: string; creditId?: string; hour?: Date },
): Promise<{ items: CreditRow[]; nextCursor: string | null }> {
  const rows = await tx.query<CreditRow>(
    `select ${COLUMNS} from credits where ($1::uuid is null or credit_id > $1) and ($3::uuid is null or subscription_id = $3) and ($4::text is null or state = $4) and ($5::uuid is null or credit_id = $5) and ($6::timestamptz is null or hour = $6)
      order by credit_id limit $2`,
    [q.after, q.limit + 1, q.subscriptionId ?? null, q.state ?? null, q.creditId ?? null, q.hour ?? null],
  );
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.credit_id : null };
}

/** Credits that an adjustment of the marketplace may be about: by its id, or not yet named and of its invoice. */
export function listOpenForAdjustment(
  tx: Tx,
  q: { marketplace: string; externalId: string; invoiceReference: string | null; subscriptionIds: string[] | null },
): Promise<CreditRow[]> {
  return tx.query<CreditRow>(
    `select ${COLUMNS} from credits where marketplace = $1 and ($4::uuid[] is null or subscription_id = any($4::uuid[]))
        and (external_reference = $2 or (external_reference is null and state = 'open' and invoice_reference = $3)) order by created_at, credit_id for update`,
    [q.marketplace, q.externalId, q.invoiceReference, q.subscriptionIds],
  );
}

/** What the marketplace decided; said once. The amount they gave is theirs, also where our price was unknown. */
export async function endCredit(
  tx: Tx,
  deps: MeteringDeps,
  input: { creditId: string; completed: boolean; reference: string; amount?: string; currency?: string; note?: string; by: string },
): Promise<CreditRow> {
  const [row] = await tx.query<CreditRow>(`select ${COLUMNS} from credits where credit_id = $1 for update`, [input.creditId]);
  if (!row) throw new ProblemError('not_found', 'credit.not_found', 'There is no such credit.');
  if (row.state !== 'open') throw new ProblemError('conflict', 'credit.ended', `This credit is ${row.state}; that stays.`);
  if (input.completed && (input.amount === undefined || input.currency === undefined))
    throw new ProblemError(
      'validation',
      'credit.amount_missing',
      'Say what was given back: amount and currency as the marketplace states them.',
    );
  const [ended] = await tx.query<CreditRow>(
    `update credits set state = $2, ended_at = $3, external_reference = coalesce(external_reference, $4), outcome = $5 where credit_id = $1 returning ${COLUMNS}`,
    [
      input.creditId,
      input.completed ? 'completed' : 'failed',
      deps.clock.now(),
      input.reference,
      JSON.stringify({
        reference: input.reference,
        by: input.by,
        ...(input.note ? { note: input.note } : {}),
        ...(input.completed ? { amount: input.amount, currency: input.currency } : {}),
      }),
    ],
  );
  return ended!;
}
