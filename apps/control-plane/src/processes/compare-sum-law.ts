import type { Database, Tx } from '#platform';
import { checkSumLaw, findStrays, openDifferences, openStanding, type StandingFinding, type SumLawSeries } from '#metering';
import { settleAgreeing, type Comparison } from './comparison.js';

/** Purchases that one piece looks at: every kind of row of theirs is read. */
const AT_ONCE = 200;
const SAID = 20;

async function nextPurchases(tx: Tx, marketplace: string | null, after: string | null): Promise<string[]> {
  const rows = await tx.query<{ id: string }>(
    `select subscription_id as id from subscriptions where ($1::text is null or marketplace = $1) and ($2::uuid is null or subscription_id > $2) order by subscription_id limit $3`,
    [marketplace, after, AT_ONCE],
  );
  return rows.map((r) => r.id);
}

/** The sum law of all purchases since their first hour, piece by piece: how many series there are, and those that do not balance. */
export async function checkWholeSumLaw(db: Database): Promise<{ checked: number; broken: SumLawSeries[] }> {
  const broken = await db.ops((tx) => findStrays(tx, {}));
  let checked = 0;
  for (let after: string | null = null; ;) {
    const ids = await db.ops((tx) => nextPurchases(tx, null, after));
    if (ids.length === 0) return { checked, broken };
    const { series } = await db.ops((tx) => checkSumLaw(tx, { subscriptionIds: ids, strays: false }));
    checked += series.length;
    broken.push(...series.filter(isBroken));
    after = ids.at(-1)!;
  }
}

/** The sum law over the run's span, from rows alone, purchase by purchase (law 5). Exact: there is no lag and no tolerance. */
export const compareSumLaw: Comparison = async (p, run, step) => {
  const ids = await p.db.ops((tx) => nextPurchases(tx, run.marketplace, step.position));
  const span = { from: run.from_at, to: run.to_at };
  const { series } = await p.db.ops((tx) => checkSumLaw(tx, { ...span, subscriptionIds: ids, strays: false }));
  // Of all purchases, once: with the first piece.
  const strays = step.position === null ? await p.db.ops((tx) => findStrays(tx, span)) : [];
  const broken = [...series.filter(isBroken), ...strays];
  return async (tx) => {
    const opened = await openDifferences(tx, p.clock, {
      comparison: 'sum_law',
      runId: run.run_id,
      differs: broken.map((s) => findingOf(s, span)),
    });
    // A finding of another span is looked at in its own.
    const mended: string[] = [];
    const subjects = new Set(broken.map(subjectOf));
    for (const f of (await openStanding(tx, 'sum_law')).filter((one) => ids.includes(String(one.evidence['subscriptionId'])))) {
      if (subjects.has(f.subject)) continue;
      const own = await checkSumLaw(tx, {
        subscriptionIds: [String(f.evidence['subscriptionId'])],
        from: new Date(String(f.evidence['from'])),
        to: new Date(String(f.evidence['to'])),
      });
      if (!own.series.some((s) => isBroken(s) && subjectOf(s) === f.subject)) mended.push(f.finding_id);
    }
    const closed = await settleAgreeing(p, tx, run.run_id, mended, 'the sum law holds again');
    const counts = { compared: series.length, agreed: series.filter((s) => !isBroken(s)).length, differing: broken.length, opened, closed };
    return ids.length === AT_ONCE ? { ...counts, position: ids.at(-1)! } : { ...counts, end: { state: 'done' } };
  };
};

const isBroken = (s: SumLawSeries): boolean => s.difference !== 0n || s.missing.length > 0;
const subjectOf = (s: SumLawSeries): string => `${s.subscriptionId}/${s.meter}`;

const findingOf = (s: SumLawSeries, span: { from: Date; to: Date }): StandingFinding => ({
  kind: 'drift.quantity',
  subject: subjectOf(s),
  tenantId: s.tenantId || null,
  subscriptionId: s.subscriptionId,
  evidence: {
    what: 'rows of the ledger contradict each other or are missing',
    subscriptionId: s.subscriptionId,
    meter: s.meter,
    difference: s.difference.toString(),
    missing: s.missing.slice(0, SAID),
    from: span.from.toISOString(),
    to: span.to.toISOString(),
  },
});
