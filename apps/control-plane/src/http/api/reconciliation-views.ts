import { z } from 'zod';
import { toPublicId } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { RECONCILIATION_KINDS, type RunLineRow, type RunRow, type StepRow } from '#metering';
import { apiSchema } from '../support/api-schemas.js';

const instant = z.iso.datetime();
const comparison = z.object({
  step: z.int(),
  kind: z.enum(RECONCILIATION_KINDS),
  marketplace: z.enum(MARKETPLACES).nullable(),
  state: z.enum(['waiting', 'running', 'done', 'failed', 'not_comparable']),
  reason: z.string().nullable().describe('Why it failed or nothing could be compared, or what there is to know beside the numbers.'),
  compared: z.int().describe('Series (sum_law), lines of the marketplace (read_back), purchases, placements.'),
  agreed: z.int(),
  differing: z.int(),
  notYetVisible: z.int().describe('Younger than the lag of the other side, in work, or not answered for: no difference.'),
  findingsOpened: z.int(),
  findingsClosed: z.int().describe('Differences of earlier runs that are gone; each settled itself.'),
  driftRunId: z.string().optional().describe('Where the purchases that differed are told one by one.'),
  startedAt: instant.nullable(),
  finishedAt: instant.nullable(),
});
export const reconciliation = apiSchema(
  'Reconciliation',
  z.object({
    id: z.string(),
    kinds: z.array(z.enum(RECONCILIATION_KINDS)),
    marketplace: z.enum(MARKETPLACES).nullable().describe('Null: all.'),
    from: instant,
    to: instant,
    requestedBy: z.string().describe("The key's holder, or `schedule`."),
    requestedVia: z.enum(['schedule', 'api', 'command']),
    state: z.enum(['queued', 'running', 'done', 'failed']).describe('`failed`: a comparison could not be made; the others count.'),
    agreed: z.boolean().nullable().describe('Whether none failed and none differs; null while it runs.'),
    progress: z.object({ step: z.int(), of: z.int(), compared: z.int() }),
    comparisons: z.array(comparison),
    createdAt: instant,
    startedAt: instant.nullable(),
    finishedAt: instant.nullable(),
  }),
);
export const reconciliationPage = apiSchema(
  'ReconciliationPage',
  z.object({ items: z.array(reconciliation), nextCursor: z.string().nullable() }),
);
const line = z.object({
  step: z.int(),
  kind: z.enum(RECONCILIATION_KINDS),
  marketplace: z.enum(MARKETPLACES),
  line: z.int(),
  periodStart: instant,
  periodEnd: instant,
  externalSubscriptionId: z.string().describe('As the marketplace names it: a purchase, or what a report tells of.'),
  subscriptionId: z.string().nullable(),
  planId: z.string(),
  dimension: z.string(),
  ours: z.string().describe('Exact decimal text.'),
  theirs: z.string().nullable(),
  ourCount: z.int(),
  theirCount: z.int().nullable(),
  verdict: z.string(),
  shadow: z.boolean(),
  bySum: z.boolean().describe('Several purchases that the report cannot tell apart.'),
});
export const reconciliationLines = apiSchema('ReconciliationLines', z.object({ items: z.array(line), nextCursor: z.string().nullable() }));

const at = (d: Date | null): string | null => d?.toISOString() ?? null;
const isOpen = (s: StepRow): boolean => s.finished_at === null;

export const runView = (r: RunRow & { steps: StepRow[] }): z.input<typeof reconciliation> => ({
  id: toPublicId('rcn', r.run_id),
  kinds: r.kinds,
  marketplace: r.marketplace,
  from: r.from_at.toISOString(),
  to: r.to_at.toISOString(),
  requestedBy: r.requested_by,
  requestedVia: r.requested_via,
  state: r.state,
  agreed: r.finished_at === null ? null : r.steps.every((s) => s.state !== 'failed' && s.differing === 0),
  progress: {
    step: Math.min(r.steps.filter((s) => !isOpen(s)).length + 1, r.steps.length),
    of: r.steps.length,
    compared: r.steps.reduce((sum, s) => sum + s.compared, 0),
  },
  comparisons: r.steps.map((s) => ({
    step: s.step,
    kind: s.kind,
    marketplace: s.marketplace,
    state: s.state,
    reason: s.reason,
    compared: s.compared,
    agreed: s.agreed,
    differing: s.differing,
    notYetVisible: s.not_yet_visible,
    findingsOpened: s.opened,
    findingsClosed: s.closed,
    ...(s.kind === 'subscriptions' && s.reference ? { driftRunId: toPublicId('dri', s.reference) } : {}),
    startedAt: at(s.started_at),
    finishedAt: at(s.finished_at),
  })),
  createdAt: r.created_at.toISOString(),
  startedAt: at(r.started_at),
  finishedAt: at(r.finished_at),
});

export const lineView = (l: RunLineRow): z.input<typeof line> => ({
  step: l.step,
  kind: l.kind,
  marketplace: l.marketplace,
  line: l.line,
  periodStart: l.period_start.toISOString(),
  periodEnd: l.period_end.toISOString(),
  externalSubscriptionId: l.external_subscription_id,
  subscriptionId: l.subscription_id ? toPublicId('sub', l.subscription_id) : null,
  planId: l.external_plan_id,
  dimension: l.dimension,
  ours: l.ours,
  theirs: l.theirs,
  ourCount: l.our_count,
  theirCount: l.their_count,
  verdict: l.verdict,
  shadow: l.shadow,
  bySum: l.by_sum,
});
