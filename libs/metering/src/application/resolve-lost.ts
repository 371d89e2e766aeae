import { isUuid, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { judgeLost, type ToldGroup } from '../domain/late-outcome.js';
import { OPEN_ITEM, type OpenItem } from '../infra/items.sql.js';
import { writeEntries } from '../infra/write-ledger.js';
import { lineEvidence, type ComparedLine } from './comparison-lines.js';
import type { MeteringDeps } from './deps.js';
import { raiseFindings } from './findings.js';
import { lossFindingOf } from './item-findings.js';
import { bookLoss } from './settlement-moves.js';

/** A line of a comparison with what the marketplace could tell when it was asked, or when its report was made. */
export type ToldLine = ComparedLine & Pick<ToldGroup, 'whole' | 'exact' | 'absenceTells'>;

export interface Comparing {
  reconciliationId: string;
  marketplace: Marketplace;
  source: 'read_back' | 'usage_report';
  reportId: string | null;
  /** When they said so. */
  asOf: Date;
}

/**
 * Items past their deadline whose answers were lost get their outcome where a line of their whole group tells it (money.md "Outcomes"):
 * receipt, or named loss, with the ledger's moves. Where nothing follows, their findings say why. Answers how many items it settled:
 * then the comparison is to be made again. `unknown_outcome` itself is settled by the run (`toldLater`), with its line in the audit trail.
 */
export async function resolveLost(tx: Tx, deps: MeteringDeps, comparing: Comparing, lines: readonly ToldLine[]): Promise<number> {
  let settled = 0;
  for (const line of lines) {
    const lost = (line.unsure ?? []).filter((u) => u.lost);
    if (lost.length === 0 || line.theirs === null) continue;
    const verdict = judgeLost({
      accepted: { quantity: line.ours, count: line.ourCount },
      // A report's rows are no items: only a read-back counts what it took.
      told: { quantity: line.theirs, count: comparing.source === 'read_back' ? line.theirCount : null },
      lost: lost.map((u) => ({ itemId: u.item_id, quantity: u.quantity })),
      // What a listing in shadow shows was sent by others, for numbers of theirs.
      unclear: (line.unsure ?? []).filter((u) => !u.lost && !u.told).length + (line.shadow ? line.ourCount : 0),
      whole: line.whole,
      exact: line.exact,
      absenceTells: line.absenceTells,
    });
    if (verdict.outcome === 'early') continue;
    const evidence = evidenceOf(comparing, line, lost.length, verdict.words);
    const ids = lost.map((u) => u.item_id);
    if (verdict.outcome === 'open') await sayWhy(tx, ids, evidence);
    else settled += await settleAll(tx, deps, comparing, { ids, outcome: verdict.outcome, evidence });
  }
  return settled;
}

const evidenceOf = (c: Comparing, l: ToldLine, lost: number, words: string): Record<string, unknown> => ({
  source: c.source,
  reconciliationId: c.reconciliationId,
  ...(c.reportId === null ? {} : { reportId: c.reportId }),
  asOf: c.asOf,
  marketplace: c.marketplace,
  ...lineEvidence(l),
  dimension: l.dimension,
  lost,
  words,
});

/** The newest comparison that could tell and did not; the finding stays a person's. */
async function sayWhy(tx: Tx, itemIds: string[], evidence: Record<string, unknown>): Promise<void> {
  await tx.query(
    `update findings f set evidence = f.evidence || jsonb_build_object('compared', $2::jsonb)
       from submission_items i where i.item_id = any($1::uuid[]) and f.subscription_id = i.subscription_id and f.kind = 'unknown_outcome' and f.settlement is null
        and f.evidence ->> 'itemId' = i.item_id::text`,
    [itemIds, JSON.stringify(evidence)],
  );
}

async function settleAll(
  tx: Tx,
  deps: MeteringDeps,
  comparing: Comparing,
  told: { ids: string[]; outcome: 'accepted' | 'not_taken'; evidence: Record<string, unknown> },
): Promise<number> {
  const now = deps.clock.now();
  const items = await tx.query<OpenItem>(
    `${OPEN_ITEM} where i.item_id = any($1::uuid[]) and i.settled_at is null and i.state = 'unknown' order by i.item_id for update of i`,
    [told.ids],
  );
  // Somebody has settled one of them meanwhile: what was judged is not there any more.
  if (items.length < told.ids.length) return 0;
  for (const item of items) {
    if (told.outcome === 'accepted') await take(tx, item, comparing.source, now);
    else await lose(tx, deps, item, told.evidence);
    await tx.query(
      `insert into late_outcomes (item_id, tenant_id, subscription_id, outcome, source, reconciliation_id, report_id, evidence, at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      [
        item.item_id,
        item.tenant_id,
        item.subscription_id,
        told.outcome,
        comparing.source,
        comparing.reconciliationId,
        comparing.reportId,
        JSON.stringify(told.evidence),
        now,
      ],
    );
  }
  return items.length;
}

async function take(tx: Tx, item: OpenItem, source: Comparing['source'], now: Date): Promise<void> {
  await tx.query(
    `update submission_items set state = 'accepted', last_code = $2, accepted_quantity = $3, settled_at = $4, lease_until = null where item_id = $1`,
    [item.item_id, source, item.quantity, now],
  );
  const base = BigInt(item.base_quantity);
  const row = {
    series: { subscriptionId: item.subscription_id, meter: item.meter, tenantId: item.tenant_id },
    hour: BigInt(item.hour_us),
    segmentId: item.segment_id,
    cause: source,
    ref: item.item_id,
  };
  await writeEntries(
    tx,
    [
      { ...row, term: 'pending', quantity: -base },
      { ...row, term: 'accepted', quantity: base },
    ],
    now,
    'outside',
  );
}

async function lose(tx: Tx, deps: MeteringDeps, item: OpenItem, evidence: Record<string, unknown>): Promise<void> {
  await bookLoss(tx, deps, item, 'expired', 'not_taken');
  await raiseFindings(tx, deps.clock, [
    lossFindingOf(item, 'expired', BigInt(item.base_quantity), { lastCode: item.last_code, told: evidence }),
  ]);
}

/** How an item ended of which no answer came. */
export interface LateOutcome {
  outcome: 'accepted' | 'not_taken';
  source: Comparing['source'];
  at: Date;
  evidence: { words: string; from: string; to: string; asOf: string } & Record<string, unknown>;
}

export async function lateOutcomeOf(tx: Tx, itemId: string): Promise<LateOutcome | null> {
  if (!isUuid(itemId)) return null;
  const [row] = await tx.query<LateOutcome & Record<string, unknown>>(
    'select outcome, source, at, evidence from late_outcomes where item_id = $1',
    [itemId],
  );
  return row ?? null;
}

/** The first hour after `since` of which an answer was lost for good, and no comparison that could tell has looked; null where none is. */
export async function oldestLost(tx: Tx, q: { marketplaces: readonly Marketplace[]; since: Date; now: Date }): Promise<Date | null> {
  const [row] = await tx.query<{ hour: Date | null }>(
    `select min(i.hour) as hour from submission_items i
      where i.settled_at is null and i.state = 'unknown' and i.hard_at <= $3 and i.hour >= $2 and i.marketplace = any($1::text[])
        and not exists (select 1 from findings f where f.subscription_id = i.subscription_id and f.kind = 'unknown_outcome' and f.evidence ->> 'itemId' = i.item_id::text
             and f.evidence ? 'compared')`,
    [q.marketplaces, q.since, q.now],
  );
  return row!.hour;
}

/** Open findings `unknown_outcome` whose items have their outcome by a comparison; `effect` says for people what it was. */
export async function toldLater(tx: Tx): Promise<{ findingId: string; effect: string }[]> {
  const rows = await tx.query<{ finding_id: string; outcome: string; words: string }>(
    `select f.finding_id, o.outcome, o.evidence ->> 'words' as words from findings f join late_outcomes o on o.item_id::text = f.evidence ->> 'itemId'
      where f.kind = 'unknown_outcome' and f.settlement is null order by f.finding_id`,
  );
  return rows.map((r) => ({
    findingId: r.finding_id,
    effect: r.outcome === 'accepted' ? r.words : `${r.words} The amount is a named loss with a finding of its own.`,
  }));
}
