import type { Tx } from '#platform';
import { readListingEmissions } from '#entitlements';
import {
  catalogHashOf,
  journalPlan,
  type JournalPlan,
  JOURNAL_FORMAT,
  JournalSeal,
  type JournalFooter,
  type JournalHeader,
  type JournalLine,
} from '../domain/journal.js';
import { merkleRoot } from '../domain/merkle.js';
import { toUs } from '../domain/units.js';
import { notReplayable, orderedLines, outcomeLines, priceLines, spanOf } from '../infra/journal.sql.js';
import { purchaseLedgers } from '../infra/ledger-hash.sql.js';

/**
 * Writes the journal of the installation that `tx` sees, line by line without line feeds, and answers its first and last line.
 * The transaction must not have asked anything before: the journal is one moment of the installation. `told` hears, now and
 * then, how many lines there are.
 */
export async function writeJournal(
  tx: Tx,
  build: string,
  put: (line: string) => Promise<void> | void,
  told: (lines: number) => void = () => undefined,
): Promise<{ header: JournalHeader; footer: JournalFooter }> {
  await tx.query('set transaction isolation level repeatable read, read only');
  await tx.query('set local statement_timeout = 0');
  await tx.query('set local idle_in_transaction_session_timeout = 0');
  const seal = new JournalSeal();
  const raw = async (text: string): Promise<void> => {
    seal.add(text);
    await put(text);
    if (seal.lines % 20_000 === 0) told(seal.lines);
  };
  const line = (l: JournalLine): Promise<void> => raw(JSON.stringify(l));

  const leftOut = await notReplayable(tx);
  const plans = (await tx.query<{ document: JournalPlan }>('select document from plan_versions order by plan_version_id')).map((r) =>
    journalPlan(r.document),
  );
  const header: JournalHeader = {
    line: 'header',
    format: JOURNAL_FORMAT,
    build,
    ...(await spanOf(tx, leftOut)),
    catalogHash: catalogHashOf(plans),
    leftOut: leftOut.length,
  };
  await line(header);
  for (const plan of plans) await line({ line: 'plan', plan });
  for (const e of await readListingEmissions(tx))
    await line({
      line: 'emission',
      marketplace: e.marketplace,
      externalOfferId: e.externalOfferId,
      from: toUs(e.from).toString(),
      emission: e.emission,
    });
  for (const text of await priceLines(tx)) await raw(text);
  for await (const text of orderedLines(tx, leftOut)) await raw(text);
  for await (const text of outcomeLines(tx, leftOut)) await raw(text);
  const hashes: string[] = [];
  for await (const p of purchaseLedgers(tx, leftOut)) {
    for (const r of p.records) await line({ line: 'record', ...r });
    await line({ line: 'purchase', subscriptionId: p.subscriptionId, hash: p.hash });
    hashes.push(p.hash);
  }
  const footer = seal.footer(merkleRoot(hashes));
  await put(JSON.stringify(footer));
  return { header, footer };
}
