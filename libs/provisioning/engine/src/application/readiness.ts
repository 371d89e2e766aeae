/** Whether a plan may be sold, changed to or built: gates of its variant at a marketplace and in a region, consulted before any cost. */
import { ProblemError, toPublicId, type Tx } from '#platform';
import { AZCOPY_SUITE, type DriverCapabilities, type Variant } from '#provisioning/core';
import { violations } from '../domain/constraint-rules.js';
import { offerOf } from '../domain/placement-choice.js';
import { gatesOf, isOpen, needsProof, type GateState, type GateView, type Proofs } from '../domain/readiness.js';
import {
  decisionsAt,
  insertDecision,
  newestRun,
  putShape,
  putSwitch,
  readSwitch,
  shapeAt,
  type DecisionRow,
  type ShapeRow,
  type SwitchRow,
} from '../infra/readiness-rows.js';
import type { EngineContext } from './context.js';

/** What a plan would have built. */
export interface PlanWish {
  readonly marketplace: string;
  readonly region: string;
  readonly shape: string;
  /** Of the catalog: `blob_endpoint`, `cmk`, `block_tls`, `os_version` are read. */
  readonly features: Readonly<Record<string, boolean | string>>;
  readonly tenantName?: string;
}

export interface Readiness {
  readonly variant: Variant;
  readonly driver: string;
  readonly open: boolean;
  readonly gates: readonly GateView[];
}

/** Throws `placement.shape_unknown` or `placement.region_unknown` where nothing of the kind is built. */
export async function judgeReadiness(ctx: EngineContext, tx: Tx, wish: PlanWish): Promise<Readiness> {
  const offer = offerOf(wish, capabilitiesOf(ctx), ctx.policy);
  const { variant, driver } = offer;
  const osVersion = typeof wish.features['os_version'] === 'string' ? wish.features['os_version'] : versionOf(offer);
  const run = await newestRun(tx, {
    drivers: capabilitiesOf(ctx)
      .filter((c) => c.variant === variant)
      .map((c) => c.driver),
    region: wish.region,
    suite: AZCOPY_SUITE.name,
    suiteVersion: AZCOPY_SUITE.version,
  });
  const proofs: Proofs = {
    azcopy: run && { ...run, runId: toPublicId('cfr', run.runId) },
    shape: await shapeState(tx, { variant, region: wish.region, osVersion, shape: wish.shape }),
    violations: violations({
      osVersion,
      tenantName: wish.tenantName,
      customerManagedKeys: typeof wish.features['cmk'] === 'string' ? wish.features['cmk'] : undefined,
      blockTls: wish.features['block_tls'] === true,
    }),
  };
  const decisions = await decisionsAt(tx, { variant, marketplace: wish.marketplace, region: wish.region });
  const said = decisions.map((d) => ({ gate: d.gate, state: d.state, reason: d.reason, decidedBy: d.decided_by }));
  return { variant, driver, ...gatesOf(variant, wish.features['blob_endpoint'] === true, proofs, said) };
}

/** The typed refusal of the first gate that is not open; null: it may go on. */
export async function refusalOf(ctx: EngineContext, tx: Tx, wish: PlanWish): Promise<ProblemError | null> {
  const { variant, gates } = await judgeReadiness(ctx, tx, wish);
  const shut = gates.find((g) => !isOpen(g));
  if (!shut) return null;
  const where = `${variant} on ${wish.marketplace} in ${wish.region}`;
  return new ProblemError('unprocessable', 'readiness.gate_closed', `The gate ${shut.gate} of ${where} is ${shut.state}: ${shut.reason}`, {
    gate: shut.gate,
    state: shut.state,
    reason: shut.reason,
    variant,
    marketplace: wish.marketplace,
    region: wish.region,
  });
}

export interface Decision {
  readonly variant: Variant;
  readonly marketplace: string;
  readonly region: string;
  readonly gate: string;
  readonly state: GateState;
  readonly reason: string;
  readonly by: string;
}

/** A person's decision. What only a proof may call green is refused (`readiness.needs_proof`); closing it is not. */
export async function decideGate(ctx: EngineContext, tx: Tx, d: Decision): Promise<DecisionRow> {
  if (d.state === 'green' && needsProof(d.gate))
    throw new ProblemError(
      'unprocessable',
      'readiness.needs_proof',
      `The gate ${d.gate} is green by a proof alone. A person may close it (red), or leave it to the proof (unknown).`,
      { gate: d.gate },
    );
  const { by, ...rest } = d;
  return insertDecision(tx, { ...rest, decided_by: by, decided_at: ctx.clock.now() });
}

export const decideShape = (ctx: EngineContext, tx: Tx, s: Omit<ShapeRow, 'decided_at'>): Promise<ShapeRow> =>
  putShape(tx, { ...s, decided_at: ctx.clock.now() });

/** On: no cluster is made or grows, everywhere. Builds that go on are not touched. */
export const stopCreating = (ctx: EngineContext, tx: Tx, s: { on: boolean; reason: string; by: string }): Promise<SwitchRow> =>
  putSwitch(tx, { name: 'stop_creating', is_on: s.on, reason: s.reason, decided_by: s.by, decided_at: ctx.clock.now() });

/** Before a cluster is made or gets another size: `provisioning.stopped`, `shape.not_validated`. */
export async function assertCreatable(
  tx: Tx,
  offer: DriverCapabilities,
  spec: { readonly region: string; readonly shape: string; readonly version: string | null },
): Promise<void> {
  const stop = await readSwitch(tx, 'stop_creating');
  if (stop?.is_on)
    throw new ProblemError('unavailable', 'provisioning.stopped', `No cluster is created now: ${stop.reason}`, { reason: stop.reason });
  const osVersion = spec.version ?? versionOf(offer);
  const { state, reason } = await shapeState(tx, { variant: offer.variant, region: spec.region, osVersion, shape: spec.shape });
  if (state === 'red' || (state === 'unknown' && offer.variant !== 'local_dev'))
    throw new ProblemError('unprocessable', 'shape.not_validated', `The shape "${spec.shape}" is refused: ${reason}`, {
      shape: spec.shape,
      variant: offer.variant,
      region: spec.region,
      osVersion,
    });
}

/** What is in no entry was never tried. On one's own machine that is no reason against it. */
async function shapeState(
  tx: Tx,
  at: { variant: Variant; region: string; osVersion: string | null; shape: string },
): Promise<{ state: GateState; reason: string }> {
  const entry = await shapeAt(tx, at);
  const named = `Shape "${at.shape}" of ${at.variant} in ${at.region}${at.osVersion ? `, version ${at.osVersion},` : ''}`;
  if (entry?.state === 'validated') return { state: 'green', reason: `${named} was validated: ${entry.reason}` };
  if (entry) return { state: 'red', reason: `${named} is ${entry.state}: ${entry.reason}` };
  return { state: 'unknown', reason: `${named} is not in the shape catalogue.` };
}

/** A driver's own choice is its newest. */
const versionOf = (offer: DriverCapabilities): string | null => (offer.variant === 'local_dev' ? null : (offer.versions.at(-1) ?? null));
const capabilitiesOf = (ctx: EngineContext): DriverCapabilities[] => [...ctx.drivers.values()].map((d) => d.capabilities());
