import { z } from 'zod';
import { MARKETPLACES } from '#marketplaces/core';
import { VARIANTS } from '#provisioning/core';
import type { DecisionRow, Readiness, ShapeRow, SwitchRow } from '#provisioning/engine';
import type { PlanVersion } from '#entitlements';
import { apiSchema } from '../support/api-schemas.js';

const instant = z.iso.datetime();
const reason = z.string().trim().min(3).max(500).describe('Why; shown with every refusal, and kept.');
const state = z.enum(['green', 'red', 'unknown']);
const region = z
  .string()
  .regex(/^([a-z0-9-]{1,64}|\*)$/)
  .describe('`*`: everywhere.');

export const gateWish = apiSchema(
  'GateDecisionWish',
  z.strictObject({
    variant: z.enum(VARIANTS),
    marketplace: z.enum([...MARKETPLACES, '*']).describe('`*`: on all.'),
    region,
    gate: z.string().regex(/^[a-z][a-z0-9_.]{2,60}$/),
    state: state.describe(
      'What only a proof may call green (`blob.azcopy`, `shape.validated`, `capability.…`) can be closed here, or left to the proof.',
    ),
    reason,
  }),
);
export const gateDecision = apiSchema(
  'GateDecision',
  z.object({
    id: z.string(),
    variant: z.string(),
    marketplace: z.string(),
    region: z.string(),
    gate: z.string(),
    state,
    reason: z.string(),
    decidedBy: z.string(),
    decidedAt: instant,
  }),
);
export const gateDecisions = apiSchema('GateDecisions', z.object({ items: z.array(gateDecision) }));
export const shapeWish = apiSchema(
  'ShapeWish',
  z.strictObject({
    variant: z.enum(VARIANTS),
    region,
    osVersion: z.string().max(40).default('*').describe('`*`: any version.'),
    shape: z.string().min(1).max(64),
    state: z.enum(['validated', 'unvalidated', 'unsupported']),
    reason,
  }),
);
export const shape = apiSchema(
  'CatalogueShape',
  z.object({
    variant: z.string(),
    region: z.string(),
    osVersion: z.string(),
    shape: z.string(),
    state: z.enum(['validated', 'unvalidated', 'unsupported']),
    reason: z.string(),
    decidedBy: z.string(),
    decidedAt: instant,
  }),
);
export const shapes = apiSchema('CatalogueShapes', z.object({ items: z.array(shape) }));
export const stopWish = apiSchema('CreationStopWish', z.strictObject({ on: z.boolean(), reason }));
export const stop = apiSchema(
  'CreationStop',
  z.object({
    on: z.boolean().describe('No cluster is made or grows; what is under way goes on, and clusters serve.'),
    reason: z.string().nullable(),
    decidedBy: z.string().nullable(),
    decidedAt: instant.nullable(),
  }),
);
export const planReadiness = apiSchema(
  'PlanReadiness',
  z.object({
    marketplace: z.enum(MARKETPLACES),
    offerId: z.string(),
    planId: z.string(),
    shape: z.string(),
    region: z.string(),
    variant: z.string().nullable().describe('Null: no driver builds this shape there.'),
    open: z.boolean().describe('Whether it may be sold there, changed to, and built.'),
    gates: z.array(z.object({ gate: z.string(), state, reason: z.string(), required: z.boolean(), by: z.string() })),
  }),
);
export const plansReadiness = apiSchema('PlansReadiness', z.object({ items: z.array(planReadiness) }));

export const decisionView = (d: DecisionRow): z.input<typeof gateDecision> => ({
  id: d.decision_id,
  variant: d.variant,
  marketplace: d.marketplace,
  region: d.region,
  gate: d.gate,
  state: d.state,
  reason: d.reason,
  decidedBy: d.decided_by,
  decidedAt: d.decided_at.toISOString(),
});
export const shapeView = (s: ShapeRow): z.input<typeof shape> => ({
  variant: s.variant,
  region: s.region,
  osVersion: s.os_version,
  shape: s.shape,
  state: s.state,
  reason: s.reason,
  decidedBy: s.decided_by,
  decidedAt: s.decided_at.toISOString(),
});
export const stopView = (s: SwitchRow | null): z.input<typeof stop> => ({
  on: s?.is_on ?? false,
  reason: s?.reason ?? null,
  decidedBy: s?.decided_by ?? null,
  decidedAt: s?.decided_at.toISOString() ?? null,
});

/** Without a verdict: nobody builds the shape there, `why` says it. */
export const planView = (plan: PlanVersion, at: string, verdict: Readiness | { readonly why: string }): z.input<typeof planReadiness> => ({
  marketplace: plan.marketplace,
  offerId: plan.externalOfferId,
  planId: plan.externalPlanId,
  shape: plan.shape,
  region: at,
  ...('why' in verdict
    ? { variant: null, open: false, gates: [{ gate: 'driver', state: 'red', reason: verdict.why, required: true, by: 'drivers' }] }
    : { variant: verdict.variant, open: verdict.open, gates: [...verdict.gates] }),
});
