import { ProblemError } from '#platform';

/** A placement's life as data. What is asked of it in a phase that has no such row is refused with `placement.in_state`. */
export type PlacementPhase =
  | 'requested'
  | 'validating'
  | 'active'
  | 'suspending'
  | 'suspended'
  | 'resuming'
  | 'ending'
  | 'ended'
  // Its data can be read for a while, so that it is taken along.
  | 'exporting'
  | 'purging'
  | 'purged'
  | 'failed';

export type PlacementEvent =
  // wishes
  | 'suspend'
  | 'resume'
  | 'end'
  | 'export'
  | 'purge'
  | 'retry'
  // facts
  | 'configured'
  | 'validated'
  | 'suspended'
  | 'ended'
  | 'purged'
  | 'fail';

export const placementTransitions = {
  requested: { configured: 'validating', suspend: 'suspending', end: 'ending', fail: 'failed' },
  validating: { validated: 'active', suspend: 'suspending', end: 'ending', fail: 'failed' },
  active: { suspend: 'suspending', end: 'ending' },
  suspending: { suspended: 'suspended', resume: 'resuming', end: 'ending' },
  suspended: { resume: 'resuming', end: 'ending' },
  resuming: { validated: 'active', suspend: 'suspending', end: 'ending' },
  ending: { ended: 'ended' },
  ended: { export: 'exporting', purge: 'purging' },
  exporting: { end: 'ending' },
  purging: { purged: 'purged' },
  purged: {},
  failed: { retry: 'requested', end: 'ending' },
} as const satisfies Record<PlacementPhase, Partial<Record<PlacementEvent, PlacementPhase>>>;

export function nextPlacement(phase: PlacementPhase, event: PlacementEvent): PlacementPhase {
  const row: Partial<Record<PlacementEvent, PlacementPhase>> = placementTransitions[phase];
  const to = row[event];
  if (!to) throw new ProblemError('conflict', 'placement.in_state', `A placement that is ${phase} takes no "${event}".`, { phase });
  return to;
}

/** Phases in which limits and keys can still change. */
export const CHANGEABLE: readonly PlacementPhase[] = ['requested', 'validating', 'active', 'suspending', 'suspended', 'resuming'];

/** Can be handed on to another subscription: access has not ended. */
export const TRANSFERABLE: readonly PlacementPhase[] = [...CHANGEABLE, 'failed'];

/** What the control plane wants of a placement; it travels to the driver in the full list. */
export interface DesiredState {
  readonly state: 'active' | 'suspended' | 'closed' | 'purged';
  /** Bytes in decimal text, null is unlimited. */
  readonly limits: { readonly hardQuotaBytes: string | null };
  readonly reason?: string;
  /** Business time at which the change was due. */
  readonly at?: string;
  /** Access was opened once more, for reading, until then. */
  readonly readUntil?: string;
}
