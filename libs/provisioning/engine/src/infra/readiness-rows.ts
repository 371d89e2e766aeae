import { uuidv7, type Tx } from '#platform';
import type { SuiteResult, Variant } from '#provisioning/core';
import type { GateState, Place } from '../domain/readiness.js';

export interface DecisionRow {
  decision_id: string;
  variant: Variant;
  marketplace: string;
  region: string;
  gate: string;
  state: GateState;
  reason: string;
  decided_by: string;
  decided_at: Date;
}
export interface ShapeRow {
  variant: Variant;
  region: string;
  os_version: string;
  shape: string;
  state: 'validated' | 'unvalidated' | 'unsupported';
  reason: string;
  decided_by: string;
  decided_at: Date;
}
export interface SwitchRow {
  name: 'stop_creating';
  is_on: boolean;
  reason: string;
  decided_by: string;
  decided_at: Date;
}

/** What holds at a place: of each gate, and each way the place is named, the newest. */
export function decisionsAt(tx: Tx, { variant, marketplace, region }: Place): Promise<DecisionRow[]> {
  return tx.query<DecisionRow>(
    `select distinct on (marketplace, region, gate) * from readiness_decisions
      where variant = $1 and marketplace in ($2, '*') and region in ($3, '*')
      order by marketplace, region, gate, decision_id desc`,
    [variant, marketplace, region],
  );
}

/** Newest first; the history of decisions. */
export function listDecisions(
  tx: Tx,
  filter: { variant?: string | undefined; gate?: string | undefined },
  limit = 200,
): Promise<DecisionRow[]> {
  return tx.query<DecisionRow>(
    `select * from readiness_decisions where ($1::text is null or variant = $1) and ($2::text is null or gate = $2)
      order by decision_id desc limit ${Math.min(Math.max(1, Math.trunc(limit)), 500)}`,
    [filter.variant ?? null, filter.gate ?? null],
  );
}

export async function insertDecision(tx: Tx, d: Omit<DecisionRow, 'decision_id'>): Promise<DecisionRow> {
  const [row] = await tx.query<DecisionRow>(
    `insert into readiness_decisions (decision_id, variant, marketplace, region, gate, state, reason, decided_by, decided_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning *`,
    [uuidv7(), d.variant, d.marketplace, d.region, d.gate, d.state, d.reason, d.decided_by, d.decided_at],
  );
  return row!;
}

/** The narrowest entry that names this shape: of this version before any version, of this region before any region. */
export async function shapeAt(
  tx: Tx,
  at: { variant: Variant; region: string; osVersion: string | null; shape: string },
): Promise<ShapeRow | null> {
  const [row] = await tx.query<ShapeRow>(
    `select * from shape_catalogue where variant = $1 and shape = $2 and region in ($3, '*') and os_version in ($4, '*')
      order by (os_version = '*'), (region = '*') limit 1`,
    [at.variant, at.shape, at.region, at.osVersion ?? '*'],
  );
  return row ?? null;
}

export const listShapes = (tx: Tx): Promise<ShapeRow[]> =>
  tx.query<ShapeRow>('select * from shape_catalogue order by variant, shape, region, os_version');

export async function putShape(tx: Tx, s: ShapeRow): Promise<ShapeRow> {
  const [row] = await tx.query<ShapeRow>(
    `insert into shape_catalogue (variant, region, os_version, shape, state, reason, decided_by, decided_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8)
     on conflict (variant, region, os_version, shape) do update
        set state = excluded.state, reason = excluded.reason, decided_by = excluded.decided_by, decided_at = excluded.decided_at
     returning *`,
    [s.variant, s.region, s.os_version, s.shape, s.state, s.reason, s.decided_by, s.decided_at],
  );
  return row!;
}

/** Null until somebody has set it for the first time. */
export async function readSwitch(tx: Tx, name: SwitchRow['name']): Promise<SwitchRow | null> {
  const [row] = await tx.query<SwitchRow>('select * from provisioning_switches where name = $1', [name]);
  return row ?? null;
}

export async function putSwitch(tx: Tx, s: SwitchRow): Promise<SwitchRow> {
  const [row] = await tx.query<SwitchRow>(
    `insert into provisioning_switches (name, is_on, reason, decided_by, decided_at) values ($1, $2, $3, $4, $5)
     on conflict (name) do update set is_on = excluded.is_on, reason = excluded.reason, decided_by = excluded.decided_by, decided_at = excluded.decided_at
     returning *`,
    [s.name, s.is_on, s.reason, s.decided_by, s.decided_at],
  );
  return row!;
}

/** The newest word about Blob endpoints of these drivers in a region, by one version of the suite. */
export async function newestRun(
  tx: Tx,
  at: { drivers: readonly string[]; region: string; suite: string; suiteVersion: string },
): Promise<{ runId: string; result: SuiteResult; lacking: string[] } | null> {
  const [row] = await tx.query<{ run_id: string; result: SuiteResult; lacking: string[] }>(
    `select run_id, result, lacking from conformance_runs
      where driver = any($1) and region = $2 and suite = $3 and suite_version = $4 and state = 'done'
      order by finished_at desc, run_id desc limit 1`,
    [at.drivers, at.region, at.suite, at.suiteVersion],
  );
  return row ? { runId: row.run_id, result: row.result, lacking: row.lacking } : null;
}
