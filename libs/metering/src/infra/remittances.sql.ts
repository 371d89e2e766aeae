import type { Tx } from '#platform';

export interface RemittanceRow extends Record<string, unknown> {
  remittance_id: string;
  marketplace: string;
  reference: string;
  currency: string;
  gross: string;
  fee: string;
  tax: string;
  net: string;
  unexplained: string;
  fx: string | null;
  payout: string;
  payout_currency: string;
  imported_at: Date;
  imported_by: string;
  voided_at: Date | null;
  void_reason: string | null;
  lines: number;
  unallocated: string;
}
export interface AllocationRow extends Record<string, unknown> {
  version: number;
  kind: 'purchase' | 'unallocated';
  month: string | null;
  grain: string | null;
  external_id: string | null;
  subscription_id: string | null;
  dimension: string | null;
  invoice: string | null;
  amount: string;
  made_at: Date;
  made_by: string;
  reason: string;
}

export async function listRemittances(
  tx: Tx,
  q: { limit: number; after: string | null; marketplace?: string; remittanceId?: string },
): Promise<{ items: RemittanceRow[]; nextCursor: string | null }> {
  const rows = await tx.query<RemittanceRow>(
    `select r.remittance_id, r.marketplace, r.reference, r.currency, r.gross::text, r.fee::text, r.tax::text, r.net::text, trim_scale(r.gross - r.fee - r.tax - r.net)::text as unexplained,
            r.fx::text, r.payout::text, r.payout_currency, r.imported_at, r.imported_by, r.voided_at, r.void_reason,
            (select count(*)::int from remittance_lines l where l.remittance_id = r.remittance_id) as lines,
            coalesce((select a.amount from remittance_allocations a where a.remittance_id = r.remittance_id and a.kind = 'unallocated'
               and a.version = (select max(version) from remittance_allocations m where m.remittance_id = r.remittance_id)), 0)::text as unallocated
       from remittances r where ($1::uuid is null or r.remittance_id > $1) and ($3::text is null or r.marketplace = $3) and ($4::uuid is null or r.remittance_id = $4)
      order by r.remittance_id limit $2`,
    [q.after, q.limit + 1, q.marketplace ?? null, q.remittanceId ?? null],
  );
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.remittance_id : null };
}

/** What counts now: the newest version. */
export const listAllocations = (tx: Tx, remittanceId: string): Promise<AllocationRow[]> =>
  tx.query<AllocationRow>(
    `select version, kind, month, grain, external_id, subscription_id, dimension, invoice, amount::text, made_at, made_by, reason from remittance_allocations a
      where remittance_id = $1 and version = (select max(version) from remittance_allocations m where m.remittance_id = $1) order by ordinal`,
    [remittanceId],
  );
