/** Readiness gates: whether a variant may be sold, changed to or built at a marketplace in a region (requirements §1.1, §1.4). Pure. */
import type { SuiteResult, Variant } from '#provisioning/core';
import type { Violation } from './constraint-rules.js';

/** `unknown` is neither: it opens nothing that is required. */
export type GateState = 'green' | 'red' | 'unknown';

/** Where a decision holds; `*` is everywhere. */
export interface Place {
  readonly variant: Variant;
  readonly marketplace: string;
  readonly region: string;
}

export interface GateView {
  readonly gate: string;
  readonly state: GateState;
  readonly reason: string;
  /** A required gate must be green; any other must not be red. */
  readonly required: boolean;
  /** A person's decision, or a proof. */
  readonly by: string;
}

export interface GateDecision {
  readonly gate: string;
  readonly state: GateState;
  readonly reason: string;
  readonly decidedBy: string;
}

/** A person's word that the variant is ready here. */
export const AVAILABLE = 'variant.available';
/** A person lets the first one be built here before anything of it could be proved: the Blob proof is not asked for meanwhile. */
export const PILOT = 'variant.pilot';
/** Green by a passed, stored run of the current suite alone. */
export const AZCOPY = 'blob.azcopy';
/** Green by the shape catalogue alone. */
export const SHAPE = 'shape.validated';
/** What no person may call green: only a proof does. A person may close each of them. */
export const needsProof = (gate: string): boolean => [AZCOPY, SHAPE].includes(gate) || gate.startsWith('capability.');

/** What proofs say, before any decision. */
export interface Proofs {
  /** The newest finished run of the current version of the suite here; null: there is none. */
  readonly azcopy: { readonly result: SuiteResult; readonly runId: string; readonly lacking: readonly string[] } | null;
  readonly shape: { readonly state: GateState; readonly reason: string };
  readonly violations: readonly Violation[];
}

/**
 * All gates of a place. A machine of one's own (`local_dev`) is open unless something is red: what is tried there is sold to nobody.
 * Everywhere else each required gate must be green.
 */
export function gatesOf(
  variant: Variant,
  sellsBlob: boolean,
  proofs: Proofs,
  decisions: readonly GateDecision[],
): { readonly open: boolean; readonly gates: readonly GateView[] } {
  const strict = variant !== 'local_dev';
  const pilot = decisions.some((d) => d.gate === PILOT && d.state === 'green');
  const base: GateView[] = [
    { gate: AVAILABLE, state: 'unknown', reason: 'Nobody has decided that it is ready here.', required: strict, by: 'nobody' },
    { gate: SHAPE, ...proofs.shape, required: strict, by: 'shape catalogue' },
    { gate: AZCOPY, ...azcopyState(proofs.azcopy), required: strict && sellsBlob && !pilot, by: 'conformance' },
    ...proofs.violations.map(({ rule, reason }): GateView => ({
      gate: `capability.${rule}`,
      state: 'red',
      reason,
      required: true,
      by: 'constraint rule',
    })),
  ];
  const named = new Map(base.filter((g) => g.gate !== AZCOPY || sellsBlob).map((g) => [g.gate, g]));
  for (const decision of decisions) {
    const known = named.get(decision.gate);
    if (decision.gate === AZCOPY && !sellsBlob) continue;
    if (known && needsProof(decision.gate) && decision.state !== 'red') continue;
    // Of several decisions that hold here, and of a decision and a proof, the worst counts.
    if (known && known.by !== 'nobody' && rank(known.state) >= rank(decision.state)) continue;
    const { gate, state, reason, decidedBy: by } = decision;
    named.set(gate, { gate, state, reason, required: known?.required ?? false, by });
  }
  const gates = [...named.values()];
  return { open: gates.every(isOpen), gates };
}

export const isOpen = (g: GateView): boolean => (g.required ? g.state === 'green' : g.state !== 'red');

const rank = (state: GateState): number => ['green', 'unknown', 'red'].indexOf(state);

function azcopyState(run: Proofs['azcopy']): { state: GateState; reason: string } {
  if (!run) return { state: 'unknown', reason: 'No run of the current suite has ended here.' };
  const lacks = run.lacking.length > 0 ? `; it lacks ${run.lacking.join(', ')}` : '';
  if (run.result === 'pass') return { state: 'green', reason: `Run ${run.runId} passed${lacks}.` };
  return { state: run.result === 'unknown' ? 'unknown' : 'red', reason: `Run ${run.runId} ended ${run.result.replace('_', ' ')}.` };
}
