import { sha256Hex, type Tx } from '#platform';
import type { RecordFacts } from '../domain/journal.js';
import { merkleRoot } from '../domain/merkle.js';
import { us } from './us.js';

const PURCHASES_AT_ONCE = 200;

export interface PurchaseLedger {
  subscriptionId: string;
  hash: string;
  records: RecordFacts[];
}

/**
 * Each purchase's records and the hash over all that the ledger says of it, in order of their ids; those in `except` are left
 * out. The canonical form is in the README: natural keys and amounts, no time of writing. Entries of amount 0 only name something.
 */
export async function* purchaseLedgers(tx: Tx, except: readonly string[] = []): AsyncGenerator<PurchaseLedger> {
  for (let after = '00000000-0000-0000-0000-000000000000'; ;) {
    const ids = (
      await tx.query<{ id: string }>(
        `select id from (select distinct subscription_id as id from hour_closings where subscription_id > $1 and subscription_id <> all($2::uuid[])) x order by id limit $3`,
        [after, except, PURCHASES_AT_ONCE],
      )
    ).map((r) => r.id);
    if (ids.length === 0) return;
    after = ids.at(-1)!;
    const records = await tx.query<RecordFacts>(
      `select subscription_id as "subscriptionId", marketplace, meter, segment_id as "segmentId", dimension, ${us('hour')} as hour, base_quantity::text as "baseQuantity",
              quantity::text as quantity, decimals, listed_unit as "listedUnit", base_per_unit::text as "basePerUnit", plan_version_id as "planVersionId",
              external_plan_id as "externalPlanId", ${us('starts_at')} as "startsAt", ${us('ends_at')} as "endsAt", quality
         from usage_records where subscription_id = any($1::uuid[]) order by subscription_id, hour, segment_id, dimension collate "C"`,
      [ids],
    );
    const entries = await tx.query<{ id: string; line: string[] }>(
      `select subscription_id as id, array[meter, ${us('hour')}, coalesce(segment_id::text, ''), term, cause, ref, quantity::text] as line
         from ledger_entries where subscription_id = any($1::uuid[]) and quantity <> 0
        order by subscription_id, hour, meter collate "C", segment_id nulls first, term collate "C", cause collate "C", ref collate "C"`,
      [ids],
    );
    const byId = new Map(ids.map((id) => [id, { records: [] as RecordFacts[], entries: [] as string[][] }]));
    for (const r of records) byId.get(r.subscriptionId)?.records.push(r);
    for (const e of entries) byId.get(e.id)?.entries.push(e.line);
    for (const [subscriptionId, of] of byId)
      yield { subscriptionId, records: of.records, hash: hashOfPurchase(subscriptionId, of.records, of.entries) };
  }
}

const hashOfPurchase = (subscriptionId: string, records: RecordFacts[], entries: string[][]): string =>
  sha256Hex(
    [
      subscriptionId,
      ...records.map((r) =>
        JSON.stringify([
          'record',
          r.marketplace,
          r.meter,
          r.segmentId,
          r.dimension,
          r.hour,
          r.baseQuantity,
          r.quantity,
          r.decimals,
          r.listedUnit,
          r.basePerUnit,
          r.planVersionId,
          r.externalPlanId,
          r.startsAt,
          r.endsAt,
          r.quality,
        ]),
      ),
      ...entries.map((e) => JSON.stringify(['entry', ...e])),
    ].join('\n'),
  );

/** The hash of the ledger: over the purchases' hashes, in order of their ids. */
export async function ledgerHash(tx: Tx): Promise<string> {
  const hashes: string[] = [];
  for await (const p of purchaseLedgers(tx)) hashes.push(p.hash);
  return merkleRoot(hashes);
}
