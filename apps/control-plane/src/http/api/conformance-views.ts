import { z } from 'zod';
import { toPublicId } from '#platform';
import type { ConformanceRunRow } from '#provisioning/engine';
import { apiSchema } from '../support/api-schemas.js';

const instant = z.iso.datetime();
const outcome = z.enum(['pass', 'fail', 'not_supported', 'unknown', 'out_of_contract']);
const wire = z.object({
  request: z.string().describe('For example `PUT ?comp=block`.'),
  status: z.int().nullable().describe('Null: no answer came.'),
  errorCode: z.string().nullable(),
  headers: z.record(z.string(), z.string()).describe('Of the answer, those that clients act on.'),
  ms: z.int(),
});
export const conformanceRun = apiSchema(
  'ConformanceRun',
  z.object({
    id: z.string(),
    placementId: z.string(),
    clusterId: z.string(),
    endpoint: z.string().describe('The run works beside the placement, on its cluster and through the same door; nothing of it is billed.'),
    suite: z.string(),
    suiteVersion: z.string(),
    state: z.enum(['queued', 'running', 'done', 'failed']).describe('`failed`: it could not be carried out; no word about the endpoint.'),
    result: z
      .enum(['pass', 'fail', 'not_supported', 'unknown'])
      .nullable()
      .describe('The worst of the rules. `not_supported`: a required operation is missing. `unknown` opens no gate.'),
    lacking: z.array(z.string()).describe('Rules that are not required and that the endpoint does not have.'),
    progress: z.object({ step: z.int(), of: z.int(), awaited: z.string().nullable() }),
    rules: z.array(
      z.object({
        rule: z.string(),
        asks: z.string(),
        required: z.boolean(),
        outcome,
        detail: z.string().nullable(),
        evidence: z.array(wire),
      }),
    ),
    error: z.object({ class: z.string(), code: z.string(), detail: z.string() }).nullable(),
    requestedBy: z.string(),
    createdAt: instant,
    startedAt: instant.nullable(),
    finishedAt: instant.nullable(),
  }),
);
export const conformancePage = apiSchema(
  'ConformanceRunPage',
  z.object({ items: z.array(conformanceRun), nextCursor: z.string().nullable() }),
);

export const conformanceView = (r: ConformanceRunRow): z.input<typeof conformanceRun> => ({
  id: toPublicId('cfr', r.run_id),
  placementId: toPublicId('pla', r.placement_id),
  clusterId: toPublicId('clu', r.cluster_id),
  endpoint: r.endpoint,
  suite: r.suite,
  suiteVersion: r.suite_version,
  state: r.state,
  result: r.result,
  lacking: r.lacking,
  progress: { step: r.step, of: r.steps, awaited: r.awaited },
  rules: r.rules.map((rule) => ({ ...rule, evidence: [...rule.evidence] })),
  error: r.error,
  requestedBy: r.requested_by,
  createdAt: r.created_at.toISOString(),
  startedAt: r.started_at?.toISOString() ?? null,
  finishedAt: r.finished_at?.toISOString() ?? null,
});
