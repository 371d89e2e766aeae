/** The difference between a spec and a cell. */
import { canonicalJson, planHash, type ClusterSpec, type DriverPlan } from '#provisioning/core';
import type { CellFile } from './wire.js';

const PLAN_MS = 24 * 3_600_000;

interface Artefact {
  readonly spec: ClusterSpec;
  /** The data is lost. */
  readonly replace: boolean;
}

/** Another region is another disk: the data does not move with it. */
export function artefactOf(wanted: ClusterSpec, current: CellFile | undefined): Artefact {
  // The driver's own choice for a cell that is there is what it runs: nothing goes back to an older version by itself.
  const spec = { ...wanted, version: wanted.version ?? current?.spec.version ?? null };
  return { spec, replace: current !== undefined && current.spec.region !== spec.region };
}

export function readArtefact(artefact: string): Artefact {
  return JSON.parse(artefact) as Artefact;
}

export function makePlan(clusterRef: string, spec: ClusterSpec, current: CellFile | undefined, now: Date): DriverPlan {
  const content = artefactOf(spec, current);
  const artefact = canonicalJson(content);
  const stateSerial = current?.serial ?? 0;
  const changed = current !== undefined && canonicalJson(current.spec) !== canonicalJson(content.spec);
  return {
    hash: planHash(artefact, stateSerial),
    artefact,
    stateSerial,
    create: current ? 0 : 1,
    update: changed && !content.replace ? 1 : 0,
    replace: content.replace ? 1 : 0,
    delete: 0,
    destructive: content.replace,
    destroys: content.replace ? [current?.cellId ?? clusterRef] : [],
    cost: { amountPerHour: '0', currency: 'USD' },
    expiresAt: new Date(now.getTime() + PLAN_MS).toISOString(),
  };
}

/** Read from the plan's content and from what is there, never from the flags that the caller holds. */
export function destructionOf(plan: DriverPlan, cell: CellFile | undefined): Pick<DriverPlan, 'destructive' | 'destroys'> {
  const { replace, spec } = readArtefact(plan.artefact);
  const destructive = cell !== undefined && (replace || artefactOf(spec, cell).replace);
  return { destructive, destroys: destructive ? [cell.cellId] : [] };
}
