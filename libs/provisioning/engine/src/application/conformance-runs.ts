/** Runs of the Blob suite against a placement's endpoint: asked for, carried out by a worker, kept with their evidence. */
import { ProblemError, realNow, uuidv7, type Tx } from '#platform';
import { AZCOPY_SUITE, DriverError, loadBlobSuite, toDriverError, type DriverCall, type DriverResult } from '#provisioning/core';
import { endRun, loadRun, noteRule, type ConformanceRunRow } from '../infra/conformance-rows.js';
import { loadCluster } from '../infra/rows.js';
import { driverOf, type EngineContext } from './context.js';
import { DriverCalls } from './driver-calls.js';
import { getPlacement } from './read-models.js';

/** The task that carries a run out; lane `conformance:<clusterId>`, payload `{runId}`. */
export const CONFORMANCE = 'engine.conformance';

/** Real milliseconds. All of it fits into one task's lease; the probe's account lives a little longer than the run. */
const TIMES = { callMs: 8_000, runMs: 90_000, probeMs: 120_000 };
const MOST_ATTEMPTS = 3;

/**
 * Books a run in the caller's transaction; answers its id. Refused: `placement.in_state` where the placement does not serve,
 * `conformance.unsupported` where the driver lets no suite in or serves no Blob, `conformance.under_way` while one goes on.
 */
export async function requestConformanceRun(
  ctx: EngineContext,
  tx: Tx,
  placementId: string,
  requestedBy: string,
): Promise<{ readonly runId: string }> {
  const placement = await getPlacement(tx, placementId);
  if (placement.phase !== 'active' || placement.endpoint === null)
    throw new ProblemError('conflict', 'placement.in_state', `A placement that is ${placement.phase} has no endpoint to judge.`, {
      phase: placement.phase,
    });
  const cluster = (await loadCluster(tx, placement.clusterId))!;
  const can = driverOf(ctx, cluster.driver).capabilities();
  if (!can.probes || !can.protocols.includes('azure-blob'))
    throw new ProblemError(
      'unprocessable',
      'conformance.unsupported',
      can.probes
        ? `The driver "${cluster.driver}" serves ${can.protocols.join(', ') || 'no protocol'}, not azure-blob.`
        : `The driver "${cluster.driver}" has no account to let a suite in with.`,
    );
  const runId = uuidv7();
  const made = await tx.query<{ run_id: string }>(
    `insert into conformance_runs (run_id, placement_id, cluster_id, endpoint, driver, region, suite, suite_version, state, requested_by, created_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $9, $10)
     on conflict (placement_id) where finished_at is null do nothing returning run_id`,
    [
      runId,
      placementId,
      cluster.cluster_id,
      placement.endpoint,
      cluster.driver,
      cluster.region,
      AZCOPY_SUITE.name,
      AZCOPY_SUITE.version,
      requestedBy,
      ctx.clock.now(),
    ],
  );
  if (made.length === 0)
    throw new ProblemError('conflict', 'conformance.under_way', 'A run against this placement goes on already; wait for it.');
  await ctx.tasks.enqueue(tx, { lane: `conformance:${cluster.cluster_id}`, handler: CONFORMANCE, payload: { runId } });
  return { runId };
}

/**
 * Carries one run out. A worker that died in it leaves it `running`: it is begun again with another account, and given up after
 * three times. What the driver refuses ends the run as `failed`; what the endpoint does is the result.
 */
export async function runConformance(ctx: EngineContext, runId: string): Promise<void> {
  const begun = await ctx.db.ops((tx) => begin(ctx, tx, runId));
  if (!begun) return;
  const { run, call, closeFirst } = begun;
  const driver = driverOf(ctx, run.driver);
  const can = driver.capabilities();
  const calls = new DriverCalls(ctx);
  const close = (accountName: string): Promise<unknown> =>
    // It ends by itself, too.
    outputOf(calls, driver.closeProbe({ ...call, operationId: uuidv7() }, { accountName })).catch((error: unknown) =>
      ctx.logger.warn({ run: runId, err: String(error) }, 'the probe of a conformance run was not closed'),
    );
  try {
    if (closeFirst) await close(closeFirst);
    const access = (await outputOf(calls, driver.openProbe(call, { lifeMs: TIMES.probeMs })))!;
    try {
      await ctx.db.ops((tx) => tx.query('update conformance_runs set probe_account = $2 where run_id = $1', [runId, access.accountName]));
      const suite = await loadBlobSuite();
      const report = await suite({
        access,
        description: { protocol: 'azure-blob', signInModes: can.signInModes },
        now: realNow,
        callTimeoutMs: TIMES.callMs,
        runTimeoutMs: TIMES.runMs,
        onProgress: (at) => ctx.db.ops((tx) => noteRule(tx, runId, at)),
      });
      await ctx.db.ops((tx) => endRun(tx, runId, ctx.clock.now(), report));
    } finally {
      await close(access.accountName);
    }
  } catch (thrown) {
    const error = toDriverError(thrown).toShape();
    await ctx.db.ops((tx) => endRun(tx, runId, ctx.clock.now(), { error }));
  }
}

async function begin(
  ctx: EngineContext,
  tx: Tx,
  runId: string,
): Promise<{ run: ConformanceRunRow; call: DriverCall; closeFirst: string | null } | null> {
  const run = await loadRun(tx, runId, true);
  if (run.finished_at) return null;
  const now = ctx.clock.now();
  if (run.attempts >= MOST_ATTEMPTS) {
    const detail = `It was begun ${run.attempts} times, and no worker came to its end.`;
    await endRun(tx, runId, now, { error: { class: 'unknown', code: 'conformance.given_up', detail } });
    return null;
  }
  await tx.query(
    `update conformance_runs set state = 'running', attempts = attempts + 1, step = 0, started_at = coalesce(started_at, $2) where run_id = $1`,
    [runId, now],
  );
  const cluster = (await loadCluster(tx, run.cluster_id))!;
  // Nothing of the cluster is changed: the fence is not raised.
  const { name, generation, fence } = cluster;
  const call = new DriverCalls(ctx).look({ name, generation: Number(generation), fence: Number(fence) });
  return { run, call, closeFirst: run.probe_account };
}

/** A driver's quick answer, within the time of a call. */
async function outputOf<T>(calls: DriverCalls, asked: Promise<DriverResult<T>>): Promise<T | undefined> {
  const { error, output } = await calls.timed(asked);
  if (error) throw new DriverError(error.class, error.code, error.detail);
  return output;
}
