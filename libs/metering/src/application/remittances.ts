import { canonicalJson, ProblemError, sha256Hex, uuidv7, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { purchasesByForeignName } from '#entitlements';
import { allocate, type Allocation, type RemittanceDraft, type WantedAllocation } from '../domain/remittance.js';
import type { MeteringDeps } from './deps.js';
import { readRemittances, type RemittanceFile } from './read-remittances.js';

/** What a marketplace's money reports can tell apart (money.md "What can be compared"). */
export const MONEY_GRAIN: Record<Marketplace, 'purchase' | 'agreement' | 'account'> = {
  azure: 'purchase',
  aws: 'agreement',
  gcp: 'account',
};

export interface ImportedRemittance {
  remittanceId: string | null;
  /** `duplicate`: stored with the same content; `conflict`: stored with another. */
  outcome: 'new' | 'duplicate' | 'conflict';
  draft: RemittanceDraft;
  allocations: (Allocation & { subscriptionIds: string[] })[];
}
export interface ImportResult {
  stored: boolean;
  delimiter: string;
  columns: string[];
  decimal: string;
  deductionsWereNegative: boolean;
  remittances: ImportedRemittance[];
}

/**
 * Reads a payout file and, unless it is a preview, stores its payouts with their first allocation. All or nothing; a payout that
 * is stored already (marketplace and reference) changes nothing.
 */
export async function importRemittances(
  tx: Tx,
  deps: MeteringDeps,
  input: RemittanceFile & { marketplace: Marketplace; dryRun: boolean; by: string },
): Promise<ImportResult> {
  const file = readRemittances(input);
  const grain = MONEY_GRAIN[input.marketplace];
  const names = [...new Set(file.drafts.flatMap((d) => d.lines.flatMap((l) => (l.externalId ? [l.externalId] : []))))];
  const known = await purchasesByForeignName(tx, { marketplace: input.marketplace, grain, names });
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205317))', [input.marketplace]);
  const remittances: ImportedRemittance[] = [];
  for (const draft of file.drafts) {
    const { hash, stored } = await findStored(tx, input.marketplace, draft);
    const wanted: WantedAllocation[] = draft.lines.flatMap((l) =>
      l.externalId && known.has(l.externalId)
        ? [{ month: l.month, externalId: l.externalId, dimension: l.dimension, invoice: l.invoice, amount: l.gross }]
        : [],
    );
    // Lines of both signs may overshoot the sum: then a person allocates.
    const rows = allocate(draft.gross, wanted) ?? allocate(draft.gross, [])!;
    const outcome = !stored ? 'new' : stored.content_hash === hash ? 'duplicate' : 'conflict';
    const remittanceId = stored?.remittance_id ?? null;
    remittances.push({
      remittanceId,
      outcome,
      draft,
      allocations: rows.map((r) => ({ ...r, subscriptionIds: r.kind === 'purchase' ? (known.get(r.externalId) ?? []) : [] })),
    });
    if (input.dryRun || outcome !== 'new') continue;
    const id = uuidv7();
    remittances.at(-1)!.remittanceId = id;
    await insertRemittance(tx, deps, id, input.marketplace, draft, hash, input.by);
    await insertAllocations(tx, deps, { id, version: 1, rows, known, grain, by: input.by, reason: 'as the file says it' });
  }
  const conflicts = remittances.filter((r) => r.outcome === 'conflict').map((r) => r.draft.reference);
  if (conflicts.length > 0 && !input.dryRun)
    throw new ProblemError(
      'conflict',
      'remittance.conflict',
      `Stored already with other figures: ${conflicts.slice(0, 20).join(', ')}. Nothing was imported. Void what was wrong, then import again.`,
    );
  const { delimiter, columns, decimal, deductionsWereNegative } = file;
  return { stored: !input.dryRun, delimiter, columns, decimal, deductionsWereNegative, remittances };
}

async function findStored(
  tx: Tx,
  marketplace: string,
  draft: RemittanceDraft,
): Promise<{ hash: string; stored: { remittance_id: string; content_hash: string } | undefined }> {
  const hash = sha256Hex(canonicalJson({ ...draft, lines: draft.lines.map(({ line: _, raw: __, ...l }) => l) }));
  const [stored] = await tx.query<{ remittance_id: string; content_hash: string }>(
    'select remittance_id, content_hash from remittances where marketplace = $1 and reference = $2 and voided_at is null',
    [marketplace, draft.reference],
  );
  return { hash, stored };
}

async function insertRemittance(
  tx: Tx,
  deps: MeteringDeps,
  id: string,
  marketplace: string,
  d: RemittanceDraft,
  hash: string,
  by: string,
): Promise<void> {
  await tx.query(
    `insert into remittances (remittance_id, marketplace, reference, currency, gross, fee, tax, net, fx, payout, payout_currency, content_hash, imported_at, imported_by)
     values ($1, $2, $3, $4, $5::numeric, $6::numeric, $7::numeric, $8::numeric, $9::numeric, $10::numeric, $11, $12, $13, $14)`,
    [id, marketplace, d.reference, d.currency, d.gross, d.fee, d.tax, d.net, d.fx, d.payout, d.payoutCurrency, hash, deps.clock.now(), by],
  );
  await tx.query(
    `insert into remittance_lines (remittance_id, line, month, external_id, dimension, invoice, gross, fee, tax, net, payout, raw)
     select $2, l.line, l.month, l."externalId", l.dimension, l.invoice, l.gross, l.fee, l.tax, l.net, l.payout, l.raw
       from jsonb_to_recordset($1::jsonb) as l(line int, month text, "externalId" text, dimension text, invoice text, gross numeric, fee numeric, tax numeric, net numeric, payout numeric, raw jsonb)`,
    [JSON.stringify(d.lines), id],
  );
}

async function insertAllocations(
  tx: Tx,
  deps: MeteringDeps,
  a: {
    id: string;
    version: number;
    rows: Allocation[];
    known: Map<string, string[]>;
    grain: string;
    by: string;
    reason: string;
  },
): Promise<void> {
  await tx.query(
    `insert into remittance_allocations (remittance_id, version, ordinal, kind, month, grain, external_id, subscription_id, dimension, invoice, amount, made_at, made_by, reason)
     select $2, $3, r.ordinal, r.kind, r.month, r.grain, r.external_id, r.subscription_id, r.dimension, r.invoice, r.amount, $4, $5, $6
       from jsonb_to_recordset($1::jsonb) as r(ordinal int, kind text, month text, grain text, external_id text, subscription_id uuid, dimension text, invoice text, amount numeric)`,
    [
      JSON.stringify(
        a.rows.map((r, i) => {
          const one = r.kind === 'purchase' ? (a.known.get(r.externalId) ?? []) : [];
          return {
            ordinal: i + 1,
            kind: r.kind,
            amount: r.amount,
            ...(r.kind === 'purchase'
              ? {
                  month: r.month,
                  grain: a.grain,
                  external_id: r.externalId,
                  subscription_id: one.length === 1 ? one[0] : null,
                  dimension: r.dimension,
                  invoice: r.invoice,
                }
              : {}),
          };
        }),
      ),
      a.id,
      a.version,
      deps.clock.now(),
      a.by,
      a.reason,
    ],
  );
}

/** A new version of what a payout was for; what is not named becomes its unallocated row. */
export async function allocateRemittance(
  tx: Tx,
  deps: MeteringDeps,
  input: { remittanceId: string; wanted: WantedAllocation[]; by: string; reason: string },
): Promise<void> {
  const row = await lockRemittance(tx, input.remittanceId);
  const grain = MONEY_GRAIN[row.marketplace];
  const known = await purchasesByForeignName(tx, { marketplace: row.marketplace, grain, names: input.wanted.map((w) => w.externalId) });
  const strange = input.wanted.find((w) => !known.has(w.externalId));
  if (strange)
    throw new ProblemError(
      'validation',
      'remittance.unknown_target',
      `No purchase of ours has the ${grain} "${strange.externalId.slice(0, 80)}". Money of ${row.marketplace} is told apart by ${grain}.`,
    );
  const rows = allocate(row.gross, input.wanted);
  if (!rows)
    throw new ProblemError(
      'conflict',
      'remittance.over_allocated',
      `That is more than the payout's gross of ${row.gross} ${row.currency}.`,
    );
  const [last] = await tx.query<{ version: number }>(
    'select max(version) as version from remittance_allocations where remittance_id = $1',
    [input.remittanceId],
  );
  await insertAllocations(tx, deps, {
    id: input.remittanceId,
    version: Number(last!.version) + 1,
    rows,
    known,
    grain,
    by: input.by,
    reason: input.reason,
  });
}

/** A wrong import counts nowhere any more, and its reference may be imported again. */
export async function voidRemittance(
  tx: Tx,
  deps: MeteringDeps,
  input: { remittanceId: string; by: string; reason: string },
): Promise<void> {
  await lockRemittance(tx, input.remittanceId);
  await tx.query('update remittances set voided_at = $2, voided_by = $3, void_reason = $4 where remittance_id = $1', [
    input.remittanceId,
    deps.clock.now(),
    input.by,
    input.reason,
  ]);
}

async function lockRemittance(tx: Tx, remittanceId: string): Promise<{ marketplace: Marketplace; gross: string; currency: string }> {
  const [row] = await tx.query<{ marketplace: Marketplace; gross: string; currency: string; voided: boolean }>(
    'select marketplace, gross::text, currency, voided_at is not null as voided from remittances where remittance_id = $1 for update',
    [remittanceId],
  );
  if (!row) throw new ProblemError('not_found', 'remittance.not_found', 'There is no such payout.');
  if (row.voided) throw new ProblemError('conflict', 'remittance.voided', 'This payout was voided; that stays.');
  return row;
}
