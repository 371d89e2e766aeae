import { compareDecimals, errorText, groupBy, isDecimal, ProblemError, sumDecimals, uuidv7, type Tx } from '#platform';
import { MarketplaceBusy, MARKETPLACES, MarketplaceUnknown, type Marketplace, type ReadBackLine } from '#marketplaces/core';
import { readSubscriptions } from '#entitlements';
import type { MeteringDeps } from './deps.js';
import {
  findingsOf,
  isQuiet,
  receiptsOf,
  storeLines,
  unsureOf,
  type ComparedLine,
  type UnsureItem,
  type Verdict,
} from './comparison-lines.js';
import { mayBeUnsure } from '../domain/late-outcome.js';
import { raiseFindings } from './findings.js';
import { resolveLost } from './resolve-lost.js';

/** Task of a comparison that was booked before there were runs. */
export const RECONCILE_HANDLER = 'metering.run-reconciliation';
const DEFAULT_LAG_MS = 3_600_000;
const DAY_MS = 86_400_000;
const startOfDay = (at: Date): Date => new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()));

interface Line extends ComparedLine {
  latest: Date | null;
  provisional: boolean;
  unsure: UnsureItem[];
}
type LineName = Pick<Line, 'periodStart' | 'externalSubscriptionId' | 'externalPlanId' | 'dimension'>;
interface Job {
  marketplace: Marketplace;
  from_at: Date;
  to_at: Date;
}
/** Writes the wish down; answers the id for `runReconciliation`. */
export async function requestReconciliation(
  tx: Tx,
  deps: MeteringDeps,
  input: { marketplace: string; from: Date; to: Date; requestedBy: string },
): Promise<string> {
  if (!MARKETPLACES.includes(input.marketplace as Marketplace) || !deps.marketplaces.has(input.marketplace as Marketplace))
    throw new ProblemError('validation', 'reconciliation.unknown_marketplace', 'no such marketplace is configured');
  if (!(input.to > input.from)) throw new ProblemError('validation', 'reconciliation.empty_span', '`to` must lie after `from`');
  const id = uuidv7();
  await tx.query(
    `insert into reconciliations (reconciliation_id, marketplace, from_at, to_at, requested_by, state, created_at) values ($1, $2, $3, $4, $5, 'requested', $6)`,
    [id, input.marketplace, input.from, input.to, input.requestedBy, deps.clock.now()],
  );
  return id;
}

const isPassing = (error: unknown): boolean => error instanceof MarketplaceBusy || error instanceof MarketplaceUnknown;

/**
 * Compares what the marketplace says it accepted with our receipts, at the grain it can tell (money.md "What can be compared").
 * Items whose answers were lost get their outcome where it tells them (`resolveLost`); each difference older than the read-back's lag is a finding. Throws `MarketplaceBusy` and `MarketplaceUnknown`: ask again.
 */
export async function runReconciliation(deps: MeteringDeps, reconciliationId: string): Promise<void> {
  const [job] = await deps.db.ops((tx) =>
    tx.query<Job & { state: string }>('select marketplace, from_at, to_at, state from reconciliations where reconciliation_id = $1', [
      reconciliationId,
    ]),
  );
  if (!job) throw new ProblemError('not_found', 'reconciliation.unknown', 'there is no such reconciliation');
  if (job.state === 'completed') return;
  const adapter = deps.marketplaces.get(job.marketplace);
  let theirs: ReadBackLine[] | null = null;
  const asOf = deps.clock.now();
  let failure: string | null = null;
  try {
    theirs = adapter.readBack ? await adapter.readBack({ from: job.from_at, to: job.to_at }) : null;
  } catch (error) {
    // Nothing is lost by asking once more: whoever runs it decides how long.
    if (isPassing(error)) throw error;
    failure = errorText(error);
  }
  if (failure !== null) {
    await deps.db.ops((tx) =>
      tx.query(
        `update reconciliations set state = 'failed', summary = $2, completed_at = $3 where reconciliation_id = $1 and state <> 'completed'`,
        [reconciliationId, JSON.stringify({ error: failure }), deps.clock.now()],
      ),
    );
    return;
  }
  const now = deps.clock.now();
  await deps.db.ops(async (tx) => {
    const [mine] = await tx.query(`select 1 from reconciliations where reconciliation_id = $1 and state <> 'completed' for update`, [
      reconciliationId,
    ]);
    if (!mine) return;
    let lines = await compare(tx, job, theirs);
    const lag = deps.options?.readBackLagMs ?? DEFAULT_LAG_MS;
    // The list shows all that they took: what is not in it was not taken.
    const told = lines.map((l) => ({ ...l, whole: isWhole(l, job, asOf, lag), exact: true, absenceTells: true }));
    const comparing = { reconciliationId, marketplace: job.marketplace, source: 'read_back' as const, reportId: null, asOf };
    if ((await resolveLost(tx, deps, comparing, told)) > 0) lines = await compare(tx, job, theirs);
    const judged = lines.map((l) => ({
      ...l,
      verdict: theirs === null ? ('not_comparable' as const) : judge(l, now, lag, isWhole(l, job, asOf, lag)),
    }));
    await storeLines(tx, reconciliationId, judged);
    await raiseFindings(
      tx,
      deps.clock,
      judged.flatMap((l) => findingsOf(reconciliationId, job.marketplace, l)),
    );
    const sent = judged.filter((l) => !l.shadow);
    const shadow = judged.filter((l) => l.shadow);
    const verdicts: Record<string, number> = {};
    for (const l of sent) verdicts[l.verdict] = (verdicts[l.verdict] ?? 0) + 1;
    await tx.query(`update reconciliations set state = 'completed', summary = $2, completed_at = $3 where reconciliation_id = $1`, [
      reconciliationId,
      JSON.stringify({
        lines: judged.length,
        verdicts,
        readBack: theirs !== null,
        balanced: sent.every(isQuiet),
        ...(shadow.length > 0 ? { shadow: { lines: shadow.length, differing: shadow.filter((l) => !isQuiet(l)).length } } : {}),
      }),
      now,
    ]);
  });
}

/** Ours at their grain. Without a read-back the lines still say what we hold receipts for, by UTC day. */
async function compare(tx: Tx, job: Job, theirs: ReadBackLine[] | null): Promise<Line[]> {
  const ours = await receiptsOf(tx, job.marketplace, startOfDay(job.from_at), job.to_at);
  const unsure = theirs === null ? [] : await unsureOf(tx, job.marketplace, startOfDay(job.from_at), job.to_at);
  const purchases = await readSubscriptions(tx, [...new Set([...ours, ...unsure].map((o) => o.subscription_id))]);
  const lines = new Map<string, Line>();
  const key = (n: LineName): string => `${n.periodStart.toISOString()}|${n.externalSubscriptionId}|${n.externalPlanId}|${n.dimension}`;
  const at = (n: LineName & { periodEnd: Date }, nothing: Pick<Line, 'theirs' | 'theirCount'>): Line => {
    let line = lines.get(key(n));
    if (!line) {
      const { periodStart, periodEnd, externalSubscriptionId, externalPlanId, dimension } = n;
      const names = { periodStart, periodEnd, externalSubscriptionId, externalPlanId, dimension, subscriptionId: null, tenantId: null };
      line = { ...names, ours: '0', ourCount: 0, ...nothing, latest: null, provisional: false, shadow: false, unsure: [] };
      lines.set(key(n), line);
    }
    return line;
  };
  for (const t of theirs ?? []) {
    const line = at(t, { theirs: '0', theirCount: null });
    line.theirs = sumDecimals([line.theirs ?? '0', isDecimal(t.quantity) ? t.quantity : '0']);
    line.theirCount = t.count === null ? line.theirCount : (line.theirCount ?? 0) + t.count;
    line.provisional ||= t.provisional;
  }
  const series = (n: Pick<Line, 'externalSubscriptionId' | 'externalPlanId' | 'dimension'>): string =>
    JSON.stringify([n.externalSubscriptionId, n.externalPlanId, n.dimension]);
  const periods = groupBy(lines.values(), series);
  /** The line of theirs that an hour of ours belongs to; where they have none, our own of its day. */
  const lineOf = (
    o: { subscription_id: string; external_plan_id: string; dimension: string; hour: Date },
    make = true,
  ): Line | undefined => {
    const purchase = purchases.get(o.subscription_id);
    if (!purchase) throw new Error(`subscription ${o.subscription_id} has usage and does not exist`);
    const day = startOfDay(o.hour);
    const own = {
      periodStart: day,
      periodEnd: new Date(day.getTime() + DAY_MS),
      externalSubscriptionId: purchase.external_subscription_id,
      externalPlanId: o.external_plan_id,
      dimension: o.dimension,
    };
    const found = periods.get(series(own))?.find((l) => l.periodStart <= o.hour && o.hour < l.periodEnd) ?? lines.get(key(own));
    if (found || !make) return found;
    return at(own, theirs === null ? { theirs: null, theirCount: null } : { theirs: '0', theirCount: 0 });
  };
  for (const o of ours) {
    const line = lineOf(o)!;
    Object.assign(line, {
      subscriptionId: o.subscription_id,
      tenantId: o.tenant_id,
      ours: sumDecimals([line.ours, o.quantity]),
      ourCount: line.ourCount + 1,
      shadow: line.shadow || o.shadow,
    });
    if (line.latest === null || o.settled_at > line.latest) line.latest = o.settled_at;
  }
  for (const u of unsure) {
    // Lost ones are asked after; what else is unsure only makes their line unclear.
    const line = lineOf(u, u.lost);
    if (!line) continue;
    Object.assign(line, { subscriptionId: u.subscription_id, tenantId: u.tenant_id });
    line.unsure.push(u);
  }
  return [...lines.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** Nothing of the line may still be sent, nor be on its way into their sums. */
function isWhole(l: Line, job: Job, asOf: Date, lagMs: number): boolean {
  const told = (at: Date): boolean => at.getTime() + lagMs <= asOf.getTime();
  return (
    !l.provisional &&
    job.to_at >= l.periodEnd &&
    told(l.periodEnd) &&
    (l.latest === null || told(l.latest)) &&
    l.unsure.every((u) => !u.lost || told(u.hard_at))
  );
}

function judge(l: Line, now: Date, lagMs: number, whole: boolean): Verdict {
  const order = compareDecimals(l.ours, l.theirs ?? '0');
  if (order === 0) return 'equal';
  // They may show ours later, never less than they have: only a shortfall can be a matter of time.
  if (order > 0 && (l.provisional || (l.latest !== null && now.getTime() - l.latest.getTime() < lagMs))) return 'not_yet_visible';
  // Unless it is ours whose answer was lost: what it was is told once the day is whole.
  if (!whole && mayBeUnsure(l)) return 'not_yet_visible';
  if (l.ourCount === 0) return 'missing_here';
  return compareDecimals(l.theirs ?? '0', '0') === 0 ? 'missing_there' : 'quantity';
}
