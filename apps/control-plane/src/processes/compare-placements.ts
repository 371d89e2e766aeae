import { groupBy } from '#platform';
import type { Inventory } from '#provisioning/engine';
import { openDifferences, openStanding, type StandingFinding } from '#metering';
import { settleAgreeing, type Comparison } from './comparison.js';

/** A placement of ours, with what its purchase and its cluster are at. */
export interface OurPlacement extends Record<string, unknown> {
  placement_id: string;
  tenant_id: string;
  subscription_id: string;
  cluster_id: string;
  cluster: string;
  phase: string;
  subscription_state: string | null;
  /** Nothing is in work at it or its cluster, and nothing has changed since the drivers were asked. */
  settled: boolean;
}
export interface PlacementComparison {
  differs: StandingFinding[];
  compared: number;
  agreed: number;
  /** Subjects of which nothing can be said now: in work, or their driver or cluster gave no answer. */
  unjudged: Set<string>;
}

/** So long a purchase that came into force may be set up for (as the serving clock has it). */
const SET_UP_MS = 30 * 60_000;

/** What our phase promises of the provider's side. An ended placement keeps its data and serves nobody. */
const PROMISED: Record<string, string[]> = {
  active: ['active'],
  suspended: ['suspended'],
  ended: ['suspended', 'closed', 'nothing'],
  exporting: ['active'],
  purged: ['nothing'],
};
const MISSING = ['active', 'suspended', 'exporting'];

/**
 * Our placements against what runs. Reports and touches nothing: a placement that is missing (`drift.missing_there`), in another state
 * (`drift.state`), nobody's (`drift.missing_here`) or there twice (`drift.quantity`).
 */
export function judgePlacements(ours: readonly OurPlacement[], there: Inventory): PlacementComparison {
  const out: PlacementComparison = { differs: [], compared: 0, agreed: 0, unjudged: new Set() };
  const answered = new Set(there.clusters.map((c) => c.clusterId));
  const shown = there.clusters.flatMap((c) => c.placements.map((seen) => ({ ...seen, cluster: c.name, clusterId: c.clusterId })));
  const byPlacement = groupBy(shown, (s) => s.placementId);
  const known = new Map(ours.map((o) => [o.placement_id, o]));
  for (const o of ours) {
    const subject = `placement:${o.placement_id}`;
    const seen = byPlacement.get(o.placement_id) ?? [];
    const awake = seen.filter((s) => s.state !== 'closed');
    if (!o.settled || !answered.has(o.cluster_id) || !PROMISED[o.phase]) {
      out.unjudged.add(subject);
      continue;
    }
    out.compared += 1;
    const state = seen.find((s) => s.clusterId === o.cluster_id)?.state ?? 'nothing';
    const about = { subject, tenantId: o.tenant_id, subscriptionId: o.subscription_id };
    const evidence = { placementId: o.placement_id, cluster: o.cluster, ours: o.phase, theirs: state, purchase: o.subscription_state };
    if (awake.length > 1)
      out.differs.push({
        ...about,
        kind: 'drift.quantity',
        evidence: { ...evidence, what: 'the placement runs more than once', runsOn: awake.map((s) => s.cluster) },
      });
    else if (PROMISED[o.phase]!.includes(state)) out.agreed += 1;
    else if (state === 'nothing' && MISSING.includes(o.phase))
      out.differs.push({
        ...about,
        kind: 'drift.missing_there',
        evidence: { ...evidence, what: 'the provider does not have the placement' },
      });
    else
      out.differs.push({
        ...about,
        kind: 'drift.state',
        evidence: { ...evidence, what: 'the provider has the placement in another state' },
      });
  }
  for (const s of shown.filter((one) => !known.has(one.placementId)))
    orphan(out, `placement:${s.placementId}`, {
      what: 'a placement runs that is nobody’s',
      placementId: s.placementId,
      account: s.accountName,
      cluster: s.cluster,
      theirs: s.state,
    });
  for (const { driver, item } of there.orphans)
    orphan(out, `${driver}:${item.externalId}`, { what: 'capacity that belongs to no cluster of ours', driver, ...item });
  for (const { driver, clusterRef, items } of there.doubled) {
    out.compared += 1;
    out.differs.push({
      kind: 'drift.quantity',
      subject: `${driver}:${clusterRef}:${items[0]!.kind}`,
      evidence: { what: 'one cluster is there more than once', driver, cluster: clusterRef, items: items.map((i) => i.externalId) },
    });
  }
  return out;
}

function orphan(out: PlacementComparison, subject: string, evidence: Record<string, unknown>): void {
  out.compared += 1;
  out.differs.push({ kind: 'drift.missing_here', subject, evidence });
}

export const comparePlacements: Comparison = async (p, run) => {
  const asked = p.clock.now();
  const there = await p.engine.takeInventory();
  return async (tx) => {
    // What a purge has taken away long ago is not looked for again.
    const ours = await tx.query<OurPlacement>(
      `select pl.placement_id, pl.tenant_id, pl.subscription_id, pl.cluster_id, c.name as cluster, pl.phase, s.state as subscription_state,
              c.phase = 'active' and c.generation = c.observed_generation and pl.updated_at <= $1 and c.deleted_at is null as settled
         from placements pl join clusters c using (cluster_id) left join subscriptions s on s.subscription_id = pl.subscription_id
        where pl.phase <> 'purged' or pl.placement_id = any($2::uuid[]) order by pl.placement_id`,
      [asked, there.clusters.flatMap((c) => c.placements.map((s) => s.placementId))],
    );
    const [unserved] = await tx.query<{ n: number }>(
      `select count(*)::int as n from subscriptions s where s.state = 'active' and s.tenant_id is not null and s.updated_at < $1
          and not exists (select 1 from placements pl where pl.subscription_id = s.subscription_id and (pl.phase = 'active' or pl.updated_at >= $1))`,
      [new Date(asked.getTime() - SET_UP_MS)],
    );
    const { differs, compared, agreed, unjudged } = judgePlacements(ours, there);
    const opened = await openDifferences(tx, p.clock, { comparison: 'placements', runId: run.run_id, differs });
    const silent = new Set(there.unanswered.map((u) => u.what));
    const still = new Set(differs.map((d) => `${d.kind}|${d.subject}`));
    const gone = (await openStanding(tx, 'placements')).filter(
      (f) =>
        !still.has(`${f.kind}|${f.subject}`) &&
        !unjudged.has(f.subject) &&
        !silent.has(`cluster ${String(f.evidence['cluster'])}`) &&
        !silent.has(`driver ${String(f.evidence['driver'])}`),
    );
    const closed = await settleAgreeing(
      p,
      tx,
      run.run_id,
      gone.map((f) => f.finding_id),
      'the provider shows it as we have it',
    );
    const silence = there.unanswered.map((u) => `${u.what}: ${u.why}`).join('; ');
    // Found by the serving clock, as `paid_not_serving`.
    const missing = unserved!.n > 0 ? `${unserved!.n} purchases in force are served by no placement (paid_not_serving)` : null;
    return {
      compared: compared + unjudged.size + unserved!.n,
      agreed,
      differing: differs.length + unserved!.n,
      not_yet_visible: unjudged.size,
      opened,
      closed,
      end: silence === '' ? { state: 'done', reason: missing } : { state: 'failed', reason: `could not be asked: ${silence}` },
    };
  };
};
