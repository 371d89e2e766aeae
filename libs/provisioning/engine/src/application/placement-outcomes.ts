/** What a configuration in force, a proof or a failure means for each placement. Called with the cluster locked. */
import type { Tx } from '#platform';
import type { ClusterObservation, EndpointDescription, LastSample } from '#provisioning/core';
import type { OperationKind } from '../domain/operation-kinds.js';
import { nextPlacement } from '../domain/placement-states.js';
import { finishOperation, finishWishes, runningOn } from '../infra/operations.js';
import {
  placementsOn,
  updatePlacement,
  type ClusterRow,
  type PlacementChange,
  type PlacementRow,
  type StoredError,
  type StoredSample,
} from '../infra/rows.js';
import { isCancellation } from './cancel-operation.js';
import { driverOf, isBuilt, publish, type EngineContext } from './context.js';
import type { SweptOutcome } from './sweep-purged.js';

interface Sent {
  readonly sent: Record<string, 'active' | 'suspended'>;
  readonly purge: readonly string[];
}

export async function applyConfigured(
  ctx: EngineContext,
  tx: Tx,
  cluster: ClusterRow,
  generation: bigint,
  sent: Sent,
  outcome: SweptOutcome,
): Promise<void> {
  const endpoints = new Map(outcome.endpoints.map((e) => [e.placementId, e.endpoint]));
  const samples = new Map(outcome.lastSamples.map((s) => [s.placementId, s]));
  for (const p of await placementsOn(tx, cluster.cluster_id, true)) {
    const sample = samples.get(p.placement_id);
    const endpoint = endpoints.get(p.placement_id);
    const change: PlacementChange = {
      endpoint,
      endpoint_description: endpoint ? descriptionOf(ctx, cluster) : undefined,
      // Usage ended with access; what is read for taking the data along is nobody's usage.
      last_sample: sample && !p.desired.readUntil ? stored(sample) : undefined,
    };
    // A wish that came after this list was made waits for the next one; what the driver told is kept all the same.
    if (BigInt(p.generation) > generation) {
      if (change.endpoint || change.last_sample) await updatePlacement(tx, p.placement_id, change, ctx.clock.now());
      continue;
    }
    await settle(ctx, tx, p, generation, sent, { ...change, observed_generation: generation.toString() }, outcome);
  }
}

/** How one connects there: the driver's own word. */
function descriptionOf(ctx: EngineContext, cluster: ClusterRow): EndpointDescription | undefined {
  const { protocols, signInModes } = driverOf(ctx, cluster.driver).capabilities();
  return protocols[0] === undefined ? undefined : { protocol: protocols[0], signInModes };
}

async function settle(
  ctx: EngineContext,
  tx: Tx,
  p: PlacementRow,
  generation: bigint,
  { sent, purge }: Sent,
  change: PlacementChange,
  outcome: SweptOutcome,
): Promise<void> {
  const now = ctx.clock.now();
  const id = p.placement_id;
  const done = (kinds: readonly OperationKind[], message: string): Promise<number> =>
    finishWishes(tx, now, id, kinds, 'succeeded', message, generation);
  const put = (more: PlacementChange): Promise<void> => updatePlacement(tx, id, { ...change, ...more }, now);
  const state = sent[id];

  if (p.phase === 'ending' && state === undefined && p.desired.readUntil) {
    await put({ phase: nextPlacement(p.phase, 'ended') });
    await done(['close_export'], 'Access is ended again; the data is kept.');
    await publish(ctx, tx, 'placement.export_closed', p);
    return;
  }
  if (p.phase === 'ending' && state === undefined) {
    const sample = change.last_sample ?? p.last_sample;
    const ended = p.access_ended_at ?? (change.last_sample ? new Date(change.last_sample.at) : now);
    await put({ access_ended_at: ended });
    // A driver that took the last sample at the suspension has none to give now: the stored one holds.
    if (!sample || sample.sequence === null || sample.acknowledged)
      await concludeEnd(ctx, tx, { ...p, last_sample: sample, access_ended_at: ended });
    return;
  }
  if (p.phase === 'purging') {
    if (purge.includes(id) && outcome.survived?.includes(id)) {
      const error = {
        class: 'unknown' as const,
        code: 'purge.survived',
        detail: 'Something of the data is there after it was deleted, or nobody could look.',
        step: 'configure',
      };
      await put({});
      await finishWishes(
        tx,
        now,
        id,
        ['purge'],
        'failed',
        'The data was deleted, and it was not seen that nothing is left.',
        generation,
        error,
      );
      return;
    }
    if (!purge.includes(id) || !outcome.purged.includes(id)) return;
    await put({ phase: nextPlacement(p.phase, 'purged'), purged_at: now });
    await tx.query('delete from placement_credentials where placement_id = $1', [id]);
    await done(['purge'], 'The data is deleted.');
    await publish(ctx, tx, 'placement.purged', p);
    return;
  }
  if (state === undefined) return;

  if (p.phase === 'requested' && state === 'active') await put({ phase: nextPlacement(p.phase, 'configured') });
  else if (p.phase === 'suspending' && state === 'suspended') {
    await put({ phase: nextPlacement(p.phase, 'suspended') });
    await done(['suspend'], 'Access is suspended.');
    await publish(ctx, tx, 'placement.suspended', p);
  } else await put({});
  if ((await done(['set_limits'], 'The limits are in force.')) > 0) await publish(ctx, tx, 'placement.limits_changed', p);
  await done(['rotate_key'], 'The key is in force.');
  await done(['open_export'], 'The data can be read.');
}

/** True when a placement is configured and must not serve before the data path is proved. */
export async function waitsForProof(tx: Tx, clusterId: string): Promise<boolean> {
  const rows = await tx.query(
    `select 1 from placements where cluster_id = $1 and phase in ('validating', 'resuming') and observed_generation >= generation limit 1`,
    [clusterId],
  );
  return rows.length > 0;
}

/** The data path is proved: what waited for it serves now. */
export async function promoteProved(ctx: EngineContext, tx: Tx, cluster: ClusterRow): Promise<void> {
  const now = ctx.clock.now();
  for (const p of await placementsOn(tx, cluster.cluster_id, true)) {
    if ((p.phase !== 'validating' && p.phase !== 'resuming') || BigInt(p.observed_generation) < BigInt(p.generation)) continue;
    const first = p.activated_at === null;
    // A sample taken at a suspension is no longer the last one.
    await updatePlacement(
      tx,
      p.placement_id,
      { phase: nextPlacement(p.phase, 'validated'), activated_at: p.activated_at ?? now, last_sample: null },
      now,
    );
    await finishWishes(
      tx,
      now,
      p.placement_id,
      ['provision', 'resume'],
      'succeeded',
      'The endpoint serves.',
      BigInt(cluster.observed_generation),
    );
    await publish(ctx, tx, first ? 'placement.active' : 'placement.resumed', p);
  }
}

/** Last samples that the usage intake has not accepted yet. */
export async function unacknowledged(tx: Tx, clusterId: string): Promise<PlacementRow[]> {
  return (await placementsOn(tx, clusterId)).filter(
    (p) =>
      p.last_sample?.acknowledged === false &&
      (p.phase === 'suspended' || (p.phase === 'ending' && p.access_ended_at !== null && !p.desired.readUntil)),
  );
}

/** Of these clusters, those on which a last sample has not been taken in yet. */
export async function unacknowledgedAmong(tx: Tx, clusterIds: readonly string[]): Promise<ReadonlySet<string>> {
  if (clusterIds.length === 0) return new Set();
  const rows = await tx.query<{ cluster_id: string }>(
    `select distinct cluster_id from placements where cluster_id = any($1::uuid[]) and last_sample ->> 'acknowledged' = 'false'
        and (phase = 'suspended' or (phase = 'ending' and access_ended_at is not null and desired ->> 'readUntil' is null))`,
    [clusterIds],
  );
  return new Set(rows.map((r) => r.cluster_id));
}

/**
 * Usage is posted in order: with an empty backlog, or one that begins after the sample, the sample has been accepted.
 * Answers how many are still awaited. Suspended ones are looked at too, but nobody waits for them.
 */
export async function acknowledge(ctx: EngineContext, tx: Tx, cluster: ClusterRow, observation: ClusterObservation): Promise<number> {
  const { metering } = observation;
  const now = ctx.clock.now();
  let awaited = 0;
  for (const p of await unacknowledged(tx, cluster.cluster_id)) {
    const sample = p.last_sample!;
    const first = metering?.oldestBacklogAt ? Date.parse(metering.oldestBacklogAt) : null;
    const acknowledged = metering !== null && (metering.backlog === 0 || (first !== null && first > Date.parse(sample.at)));
    if (acknowledged) await updatePlacement(tx, p.placement_id, { last_sample: { ...sample, acknowledged } }, now);
    if (p.phase !== 'ending') continue;
    const late = now.getTime() - p.access_ended_at!.getTime() > ctx.times.acknowledgeWithinMs;
    if (acknowledged || late) await concludeEnd(ctx, tx, { ...p, last_sample: { ...sample, acknowledged } });
    else awaited += 1;
  }
  return awaited;
}

async function concludeEnd(ctx: EngineContext, tx: Tx, p: PlacementRow): Promise<void> {
  const now = ctx.clock.now();
  await updatePlacement(tx, p.placement_id, { phase: nextPlacement(p.phase, 'ended') }, now);
  const lost = p.last_sample !== null && p.last_sample.sequence !== null && !p.last_sample.acknowledged;
  if (lost)
    ctx.logger.error(
      { placement: p.placement_id, subscription: p.subscription_id, sequence: p.last_sample!.sequence },
      'access ended, but the last sample was not acknowledged in time',
    );
  await finishWishes(
    tx,
    now,
    p.placement_id,
    ['end_access'],
    'succeeded',
    lost ? 'Access is ended; the last sample is not acknowledged.' : 'Access is ended; the data is kept.',
  );
  await publish(ctx, tx, 'placement.access_ended', p);
}

/** A person is needed: running operations end as failed, and what never served is told as failed. */
export async function failPlacements(ctx: EngineContext, tx: Tx, cluster: ClusterRow, error: StoredError): Promise<void> {
  const now = ctx.clock.now();
  for (const p of await placementsOn(tx, cluster.cluster_id, true)) {
    if (p.phase === 'requested' || p.phase === 'validating') {
      await updatePlacement(tx, p.placement_id, { phase: nextPlacement(p.phase, 'fail') }, now);
      await publish(ctx, tx, 'placement.failed', p);
    }
    // Nothing was ever built that could give access: it has ended.
    if (p.phase === 'ending' && !isBuilt(cluster)) {
      await updatePlacement(tx, p.placement_id, { access_ended_at: now }, now);
      await concludeEnd(ctx, tx, p);
    }
  }
  const told: StoredError = { ...error, detail: tenantWords(error) };
  for (const op of await runningOn(tx, cluster.cluster_id)) {
    if (op.operation_id === cluster.recorded.approval?.operationId) continue; // it waits for a person all the same
    await finishOperation(
      tx,
      now,
      op,
      isCancellation(error) && op.subject_kind === 'cluster' ? 'cancelled' : 'failed',
      `It stopped at step ${error.step}: ${error.code}.`,
      op.subject_kind === 'cluster' ? error : told,
    );
  }
}

/** A driver's detail is for operators; a tenant is told the class. */
function tenantWords(error: StoredError): string {
  return `The step "${error.step}" was refused (${error.class}). The operator has been told.`;
}

const stored = (s: LastSample): StoredSample => ({ at: s.at, sequence: s.sequence, acknowledged: s.acknowledged });
