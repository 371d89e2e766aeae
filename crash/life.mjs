// One cluster's life under kills: made, filled, resized, suspended, resumed, upgraded, emptied, retired. Each change is struck at the
// moments that are chosen, and afterwards the machine is counted.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BlobServiceClient, StorageRetryPolicyType, StorageSharedKeyCredential } from '@azure/storage-blob';
import { uuidv7 } from '../dist/libs/platform/src/index.js';
import { PgRunStore } from '../dist/libs/provisioning/drivers/terraform/src/index.js';
import { between } from '../faults/random.mjs';
import { cellsFolder, differences } from './count.mjs';
import { CHANGES, MOMENTS } from './strikes.mjs';

const PATIENCE_MS = 90_000;
const LATEST = '3.35.0-2';
const WHY = { by: 'operator:crash-matrix', reason: 'The crash matrix asks for it.' };

/** Plays a life; `strikes` is a set of names of ALL. Answers a row for each strike. */
export async function playLife(house, { driver, strikes, seed, tell = () => undefined }) {
  const life = new Life(house, driver, seed);
  const rows = [];
  for (const [change, steps] of Object.entries(CHANGES)) {
    const chosen = MOMENTS.flatMap((moment) =>
      steps.filter((step) => strikes.has(`${change}/${step}/${moment}`)).map((step) => ({ change, step, moment })),
    );
    // One strike of a step in one change; the change is made again for the others, where it can be.
    rows.push(...(await life.make(change, steps, chosen)));
    tell(`${driver} ${change}: ${rows.filter((r) => r.change === change && r.well).length} of ${chosen.length} strikes survived`);
    for (const problem of new Set(rows.filter((r) => r.change === change).flatMap((r) => r.problems))) tell(`  ${problem}`);
  }
  return rows;
}

class Life {
  constructor(house, driver, seed) {
    Object.assign(this, { house, driver, seed });
    // Both drivers offer both shapes; a shape goes to the driver that the policy names.
    this.shape = driver === 'terraform' ? 'cell-large' : 'cell';
  }

  async make(change, steps, chosen) {
    const began = performance.now();
    const queue = steps.flatMap((step) => chosen.filter((c) => c.step === step));
    const wakes = [];
    let failure = '';
    const marks = new Map();
    try {
      const first = queue[0];
      if (first) await this.arm(first);
      this.done = false;
      const wish = this[METHOD[change]]();
      // Until the wish is in the database there is nothing to strike.
      await wish.asked;
      for (const [i, strike] of queue.entries()) {
        const next = queue[i + 1];
        marks.set(strike, await this.strike(strike, next, wish, wakes));
      }
      await wish.fulfilled();
      for (const wake of wakes) await wake();
    } catch (error) {
      failure = error.message.split('\n')[0].slice(0, 200);
    }
    const problems = failure ? [failure] : await this.problems();
    const seconds = (performance.now() - began) / 1_000;
    return chosen.map((strike) => {
      const mark = marks.get(strike);
      const own = mark === undefined ? ['it was not struck', ...problems] : problems;
      return { driver: this.driver, ...strike, at: mark ?? '', seconds, problems: own, well: own.length === 0 };
    });
  }

  arm({ step, moment }) {
    return this.house.arm(step, moment === 'within' || moment === 'frozen' ? 'asked' : moment);
  }

  /** Answers where it struck; undefined when nobody came there. */
  async strike({ change, step, moment }, next, wish, wakes) {
    const { house } = this;
    const waiter = await house.held(wish.isOver);
    if (!waiter) return undefined;
    if (moment !== 'within' && moment !== 'frozen') {
      if (next) await this.arm(next);
      await house.killHeld(waiter);
      return moment;
    }
    const [{ step_id: stepId }] = await house.rows(
      `select s.step_id from operation_steps s join operations o using (operation_id) where s.name = $1 and s.outcome_at is null and o.cluster_id = $2`,
      [step, this.clusterId],
    );
    // Before it goes on: where it is quick, it is held at the next one and not past it.
    if (next) await this.arm(next);
    await house.release(waiter);
    await this.atWork(stepId);
    await sleep(between(0, this.driver === 'terraform' ? 400 : 60, this.seed, change, step, moment));
    const at = await this.driverStep(stepId);
    if (moment === 'within') await house.killAll();
    else wakes.push(await house.freezeAll());
    return at;
  }

  /** The driver's own record of an operation. */
  async record(stepId) {
    if (this.driver === 'terraform') {
      const [row] = await this.house.rows('select record from driver_operations where operation_id = $1', [stepId]);
      return row?.record;
    }
    const file = join(cellsFolder(this.house.dataDir, 'local'), 'operations', `${stepId}.json`);
    try {
      return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
    } catch {
      return undefined; // it is being written
    }
  }

  async atWork(stepId) {
    const until = performance.now() + 20_000;
    for (;;) {
      const record = await this.record(stepId);
      if (record) return;
      if (performance.now() > until) throw new Error('the driver did not begin');
      await sleep(1);
    }
  }

  async driverStep(stepId) {
    const progress = (await this.record(stepId))?.progress ?? [];
    return progress.findLast((p) => p.state === 'running')?.step ?? `after ${progress.at(-1)?.step ?? 'the call'}`;
  }

  // ---- the changes

  wish(ask, isFulfilled) {
    const { house } = this;
    const asked = Promise.resolve().then(ask);
    const state = async () => {
      const [row] = await house.rows(
        `select c.phase, c.generation = c.observed_generation as even, p.phase as placement, c.desired ->> 'shape' as shape, c.desired ->> 'version' as version
           from clusters c left join placements p using (cluster_id) where c.cluster_id = $1`,
        [this.clusterId],
      );
      return row;
    };
    const isOver = async () => {
      const now = await state();
      return now.phase === 'failed' || isFulfilled(now);
    };
    const fulfilled = async () => {
      const until = performance.now() + PATIENCE_MS;
      for (;;) {
        const now = await state();
        if (isFulfilled(now)) return;
        if (now.phase === 'failed' || performance.now() > until) throw new Error(`not converged: ${JSON.stringify(now)}`);
        await sleep(20);
      }
    };
    return { asked, isOver, fulfilled };
  }

  ops = (work) => this.house.db.ops(work);
  rest = (now) => now.phase === 'active' && now.even;

  create() {
    return this.wish(
      async () => {
        const { placementId } = await this.ops((tx) =>
          this.house.engine.requestPlacement(tx, {
            tenantId: uuidv7(),
            subscriptionId: uuidv7(),
            region: 'local',
            shape: this.shape,
            limits: { hardQuotaBytes: null },
          }),
        );
        this.placementId = placementId;
        this.clusterId = (await this.ops((tx) => this.house.engine.getPlacement(tx, placementId))).clusterId;
        this.name = (await this.ops((tx) => this.house.engine.getCluster(tx, this.clusterId))).name;
      },
      (now) => this.rest(now) && now.placement === 'active',
    );
  }

  resize() {
    const shape = this.shape === 'cell' ? 'cell-large' : 'cell';
    return this.wish(
      () => this.ops((tx) => this.house.engine.resizeCluster(tx, this.clusterId, { ...WHY, shape })),
      (now) => this.rest(now) && now.shape === shape,
    );
  }

  suspend() {
    return this.wish(
      () => this.ops((tx) => this.house.engine.suspend(tx, this.placementId, { reason: 'unpaid', at: new Date() })),
      (now) => this.rest(now) && now.placement === 'suspended',
    );
  }

  resume() {
    return this.wish(
      () => this.ops((tx) => this.house.engine.resume(tx, this.placementId)),
      (now) => this.rest(now) && now.placement === 'active',
    );
  }

  upgrade() {
    return this.wish(
      () => this.ops((tx) => this.house.engine.upgradeCluster(tx, this.clusterId, { ...WHY, version: LATEST })),
      (now) => this.rest(now) && now.version === LATEST,
    );
  }

  /** Access ends under the strikes; the data is purged in peace behind them. */
  empty() {
    const end = this.wish(
      () => this.ops((tx) => this.house.engine.endAccess(tx, this.placementId, { at: new Date() })),
      (now) => now.placement === 'ended',
    );
    const fulfilled = async () => {
      await end.fulfilled();
      this.ended = true;
      const purge = this.wish(
        () =>
          this.ops(async (tx) => {
            await this.house.engine.decideExport(tx, this.placementId, { ...WHY, state: 'confirmed' });
            return this.house.engine.purge(tx, this.placementId);
          }),
        (now) => this.rest(now) && now.placement === 'purged',
      );
      await purge.asked;
      await purge.fulfilled();
      this.purged = true;
    };
    return { ...end, fulfilled };
  }

  retire() {
    return this.wish(
      () => this.ops((tx) => this.house.engine.retireCluster(tx, this.clusterId, { ...WHY, confirm: this.name })),
      (now) => now.phase === 'retired',
    );
  }

  // ---- what is there

  async problems() {
    const { house } = this;
    const { placement, cluster } = await this.ops(async (tx) => ({
      placement: await house.engine.getPlacement(tx, this.placementId),
      cluster: await house.engine.getCluster(tx, this.clusterId),
    }));
    const stands = cluster.phase !== 'retired';
    const expected = { local: {}, terraform: {} };
    if (stands) expected[this.driver][this.name] = this.purged ? [] : [placement.accountName];
    const found = differences(house.dataDir, expected);
    found.push(...house.doubled);
    house.doubled.clear();
    if (this.driver === 'terraform') {
      const recorded = await new PgRunStore(house.db, house.sealer, house.clock).recorded(this.name);
      const resources = recorded?.head?.resources ?? 0;
      if (stands !== resources > 0) found.push(`the state of terraform names ${resources} resources`);
      const locks = await house.rows('select 1 from terraform_clusters where lock_id is not null');
      if (locks.length > 0) found.push('the state of terraform is locked');
    }
    if (stands && !this.purged) found.push(...(await this.served(placement)));
    return found;
  }

  /** As the buyer: what was written at first is there, and a suspended account is shut. */
  async served(placement) {
    const { keys, endpoint, accountName } = await this.ops((tx) => this.house.engine.credentials(tx, this.placementId));
    const service = new BlobServiceClient(endpoint, new StorageSharedKeyCredential(accountName, keys[0].secretBase64), {
      retryOptions: { retryPolicyType: StorageRetryPolicyType.FIXED, maxTries: 1, tryTimeoutInMs: 10_000 },
    });
    const blob = service.getContainerClient('data').getBlockBlobClient('first');
    try {
      if (!this.written) {
        await service.getContainerClient('data').createIfNotExists();
        await blob.upload('kept', 4);
        this.written = true;
      }
      const text = (await blob.downloadToBuffer()).toString();
      if (placement.phase === 'suspended') return ['a suspended account is open'];
      return text === 'kept' ? [] : [`the first blob says ${text}`];
    } catch (error) {
      if (placement.phase === 'suspended' && error.statusCode === 403) return [];
      return [`the endpoint does not serve: ${error.code ?? error.message}`];
    }
  }
}

const METHOD = {
  create: 'create',
  resize: 'resize',
  suspend: 'suspend',
  resume: 'resume',
  upgrade: 'upgrade',
  'end and purge': 'empty',
  delete: 'retire',
};
