import { ProblemError, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { foreignNamesOf, getSubscription, purchasesByForeignName } from '#entitlements';
import { compareReport, type ReportLine, type TheirUsage } from '../domain/compare-report.js';
import { midnight, wholeFrom, type ReportGrain } from '../domain/usage-report.js';
import {
  findingsOf,
  isQuiet,
  receiptsOf,
  storeLines,
  unsureOf,
  type ComparedLine,
  type Receipt,
  type UnsureItem,
  type Verdict,
} from './comparison-lines.js';
import type { MeteringDeps } from './deps.js';
import { raiseFindings } from './findings.js';
import { resolveLost } from './resolve-lost.js';
import { reportsOfSpan, type UsageReportRow } from './usage-reports.js';

type Judged = ComparedLine & { verdict: Verdict; grain: ReportGrain };

/**
 * Our receipts against the imported reports of a marketplace, each period by the newest report that covers it, day and month apart.
 * Items whose answers were lost get their outcome where a report tells it (`resolveLost`). Only what a report can hold by the time it
 * was made is a difference; every one is a finding.
 */
export async function compareUsageReports(tx: Tx, deps: MeteringDeps, reconciliationId: string): Promise<void> {
  const [job] = await tx.query<{ marketplace: Marketplace; from_at: Date; to_at: Date; state: string }>(
    'select marketplace, from_at, to_at, state from reconciliations where reconciliation_id = $1 for update',
    [reconciliationId],
  );
  if (!job) throw new ProblemError('not_found', 'reconciliation.unknown', 'there is no such reconciliation');
  if (job.state === 'completed') return;
  const reports = await reportsOfSpan(tx, { marketplace: job.marketplace, from: job.from_at, to: job.to_at });
  const taken = new Set<string>();
  const lines: Judged[] = [];
  for (const report of reports) {
    const periods = periodsOf(report).filter(
      (p) => p.start < job.to_at && p.end > job.from_at && !taken.has(`${report.grain}|${+p.start}`),
    );
    for (const p of periods) taken.add(`${report.grain}|${+p.start}`);
    if (periods.length > 0) lines.push(...(await compareOne(tx, deps, reconciliationId, report, periods)));
  }
  await storeLines(tx, reconciliationId, lines);
  await raiseFindings(
    tx,
    deps.clock,
    lines.flatMap((l) => findingsOf(reconciliationId, job.marketplace, l, `usage_report.${l.grain}`)),
  );
  await tx.query(`update reconciliations set state = 'completed', summary = $2, completed_at = $3 where reconciliation_id = $1`, [
    reconciliationId,
    JSON.stringify({ lines: lines.length, reports: reports.length, balanced: lines.every((l) => l.shadow || isQuiet(l)) }),
    deps.clock.now(),
  ]);
}

async function compareOne(
  tx: Tx,
  deps: MeteringDeps,
  reconciliationId: string,
  report: UsageReportRow,
  periods: { start: Date; end: Date }[],
): Promise<Judged[]> {
  const { marketplace, report_id: reportId } = report;
  const all = await theirsOf(tx, reportId);
  const starts = new Set(periods.map((p) => +p.start));
  const theirs = all.filter((l) => starts.has(+l.periodStart));
  let { lines, ours, unsure } = await lookAt(tx, report, periods, theirs);
  if ([...unsure.values()].some((u) => u.lost)) {
    const named = new Set((await namedIn(tx, report, all)).flatMap(([, ids]) => ids));
    const told = lines.map((l) => ({
      ...lineOf(l, unsure),
      whole: l.whole,
      exact: report.rounded_to === null,
      absenceTells: l.theirCount > 0 || l.subscriptionIds.every((id) => named.has(id)),
    }));
    const comparing = { reconciliationId, marketplace, source: 'usage_report' as const, reportId, asOf: report.as_of };
    if ((await resolveLost(tx, deps, comparing, told)) > 0) ({ lines, ours, unsure } = await lookAt(tx, report, periods, theirs));
  }
  const tenants = new Map([...ours, ...unsure.values()].map((o) => [o.subscription_id, o.tenant_id]));
  const out: Judged[] = [];
  for (const line of lines) out.push({ ...lineOf(line, unsure), tenantId: await tenantOf(tx, line, tenants), grain: report.grain });
  return out;
}

async function theirsOf(tx: Tx, reportId: string): Promise<TheirUsage[]> {
  const rows = await tx.query<{ period_start: Date; period_end: Date; name: string; dimension: string; quantity: string }>(
    'select period_start, period_end, name, dimension, quantity::text from usage_report_lines where report_id = $1 order by line',
    [reportId],
  );
  return rows.map((l) => ({
    periodStart: l.period_start,
    periodEnd: l.period_end,
    name: l.name,
    dimension: l.dimension,
    quantity: l.quantity,
  }));
}

/** The purchases of ours that a report's names stand for. */
async function namedIn(tx: Tx, report: UsageReportRow, theirs: readonly TheirUsage[]): Promise<[string, readonly string[]][]> {
  const names = [...new Set(theirs.map((t) => t.name))].filter((name) => name !== '');
  const known = await purchasesByForeignName(tx, { marketplace: report.marketplace, grain: report.named_by, names });
  return names.map((name) => [name, known.get(name) ?? []]);
}

async function lookAt(
  tx: Tx,
  report: UsageReportRow,
  periods: { start: Date; end: Date }[],
  theirs: readonly TheirUsage[],
): Promise<{ lines: ReportLine[]; ours: Receipt[]; unsure: Map<string, UnsureItem> }> {
  const { marketplace, grain } = report;
  const [from, to] = [periods[0]!.start, periods.at(-1)!.end];
  const [ours, unsure] = [await receiptsOf(tx, marketplace, from, to), await unsureOf(tx, marketplace, from, to)];
  const lines = compareReport({
    ours: ours.map((o) => ({
      subscriptionId: o.subscription_id,
      dimension: o.dimension,
      hour: o.hour,
      quantity: o.quantity,
      settledAt: o.settled_at,
      shadow: o.shadow,
    })),
    unsure: unsure.map((u) => ({
      itemId: u.item_id,
      subscriptionId: u.subscription_id,
      dimension: u.dimension,
      hour: u.hour,
      quantity: u.quantity,
      hardAt: u.hard_at,
      lost: u.lost,
    })),
    theirs,
    periods: periods.map((p) => ({ ...p, asOf: report.as_of, wholeFrom: wholeFrom(marketplace, grain, p.end) })),
    named: new Map(await namedIn(tx, report, theirs)),
    nameOf: await foreignNamesOf(tx, {
      grain: report.named_by,
      subscriptionIds: [...new Set([...ours, ...unsure].map((o) => o.subscription_id))],
    }),
    roundedTo: report.rounded_to,
  });
  return { lines, ours, unsure: new Map(unsure.map((u) => [u.item_id, u])) };
}

const lineOf = (l: ReportLine, items: ReadonlyMap<string, UnsureItem>): ComparedLine & { verdict: Verdict } => ({
  periodStart: l.periodStart,
  periodEnd: l.periodEnd,
  externalSubscriptionId: l.name,
  subscriptionId: l.subscriptionIds.length === 1 ? l.subscriptionIds[0]! : null,
  tenantId: null,
  externalPlanId: '',
  dimension: l.dimension,
  ours: l.ours,
  theirs: l.theirs,
  ourCount: l.ourCount,
  theirCount: l.theirCount,
  shadow: l.shadow,
  bySum: l.bySum,
  subscriptionIds: l.subscriptionIds,
  unsure: l.unsure.map((u) => items.get(u.itemId)!),
  verdict: l.verdict,
});

async function tenantOf(tx: Tx, line: ReportLine, known: Map<string, string>): Promise<string | null> {
  const [one, ...others] = line.subscriptionIds;
  if (one === undefined || others.length > 0) return null;
  return known.get(one) ?? (await getSubscription(tx, one))?.tenant_id ?? null;
}

/** All days or months that a report covers, in its own zone. */
function periodsOf({ zone, grain, from_at: from, to_at: to }: UsageReportRow): { start: Date; end: Date }[] {
  // Noon of a day lies in that day in every zone.
  const first = new Date(from.getTime() + 43_200_000);
  const [y, m, d] = [first.getUTCFullYear(), first.getUTCMonth() + 1, grain === 'day' ? first.getUTCDate() : 1];
  const at = (n: number): Date => (grain === 'day' ? midnight(zone, y, m, d + n) : midnight(zone, y, m + n, 1));
  const out: { start: Date; end: Date }[] = [];
  for (let n = 0; at(n) < to; n += 1) out.push({ start: at(n), end: at(n + 1) });
  return out;
}
