// Many tenants on a few shared cells: made, changed and removed in one run, with progress. Real cells; counted by the operating system.
import { uuidv7 } from '../dist/libs/platform/src/index.js';
import { setTimeout as sleep } from 'node:timers/promises';
import { cellsIn, differences, processesIn } from './count.mjs';
import { House } from './house.mjs';

/** Placements on one cell: 200 tenants take four. */
const PER_CELL = 50;
const PATIENCE_MS = 240_000;
const WHY = { by: 'operator:crash-matrix', reason: 'The run of many tenants asks for it.' };

/** Answers 0 when every tenant came, was changed and went, and the machine says so too. `given`: a database for tests. */
export async function playTenants({ tenants, perCell = PER_CELL, tell = () => undefined, ...given }) {
  const cells = Math.ceil(tenants / perCell);
  const house = await House.open({ policy: { cellCapacity: perCell }, log: 'silent', ...given });
  const began = performance.now();
  const say = (text) => tell(`${((performance.now() - began) / 1_000).toFixed(1).padStart(7)} s  ${text}`);
  const problems = [];
  try {
    const ids = await order(house, tenants, say);
    await until(house, ids, (p) => p.phase === 'active', say, 'serve');
    const placements = await all(house, ids);
    problems.push(...expect(house, placements, 'made'));
    const there = cellsIn(processesIn(house.dataDir));
    if (there.length !== cells) problems.push(`made: ${there.length} cells, not ${cells}`);
    say(`${tenants} tenants on ${there.length} cells`);

    await Promise.all(ids.map((id) => house.db.ops((tx) => house.engine.setLimits(tx, id, { hardQuotaBytes: 1_048_576n }))));
    const clusters = [...new Set(placements.map((p) => p.clusterId))];
    await done(house, 'set_limits', tenants, say, 'changed their limits');
    for (const id of clusters) {
      await settled(house, id);
      await house.db.ops((tx) => house.engine.resizeCluster(tx, id, { ...WHY, shape: 'cell-large' }));
    }
    await done(house, 'resize_cluster', clusters.length, say, 'cells resized');
    problems.push(...expect(house, await all(house, ids), 'changed'));

    await Promise.all(ids.map((id) => house.db.ops((tx) => house.engine.endAccess(tx, id, { at: new Date() }))));
    await until(house, ids, (p) => p.phase === 'ended', say, 'ended');
    await Promise.all(ids.map((id) => house.db.ops((tx) => purge(house, tx, id))));
    await until(house, ids, (p) => p.phase === 'purged', say, 'purged');
    problems.push(...expect(house, [], 'purged', placements));
    for (const id of clusters) {
      const { name } = await house.db.ops((tx) => house.engine.getCluster(tx, id));
      await settled(house, id);
      await house.db.ops((tx) => house.engine.retireCluster(tx, id, { ...WHY, confirm: name }));
    }
    await done(house, 'retire_cluster', clusters.length, say, 'cells taken down');
    problems.push(...differences(house.dataDir, { local: {}, terraform: {} }).map((text) => `removed: ${text}`));
    problems.push(...house.doubled);
  } catch (error) {
    problems.push(error.message.split('\n')[0]);
  } finally {
    await house.close();
  }
  for (const problem of problems) tell(`FAIL ${problem}`);
  say(problems.length === 0 ? `${tenants} tenants were made, changed and removed; nothing is left` : 'not well');
  return problems.length === 0 ? 0 : 1;
}

async function purge(house, tx, id) {
  await house.engine.decideExport(tx, id, { ...WHY, state: 'confirmed' });
  await house.engine.purge(tx, id);
}

async function order(house, tenants, say) {
  const ids = [];
  for (let n = 0; n < tenants; n += 1) {
    const request = {
      tenantId: uuidv7(),
      subscriptionId: uuidv7(),
      region: 'local',
      shape: 'cell',
      limits: { hardQuotaBytes: 2_097_152n },
    };
    ids.push((await house.db.ops((tx) => house.engine.requestPlacement(tx, request))).placementId);
  }
  say(`${tenants} tenants ordered`);
  return ids;
}

const all = async (house, ids) => Promise.all(ids.map((id) => house.db.ops((tx) => house.engine.getPlacement(tx, id))));

/** Differences between the accounts that shall be on each cell and those in its own files. */
function expect(house, placements, when, standing = placements) {
  const names = new Map(house.names);
  const local = Object.fromEntries([...new Set(standing.map((p) => p.clusterId))].map((id) => [names.get(id), []]));
  for (const p of placements) local[names.get(p.clusterId)].push(p.accountName);
  return differences(house.dataDir, { local, terraform: {} }).map((text) => `${when}: ${text}`);
}

async function until(house, ids, holds, say, word) {
  const limit = performance.now() + PATIENCE_MS;
  for (let told = -1; ;) {
    const placements = await all(house, ids);
    house.names = await namesOf(house);
    const n = placements.filter(holds).length;
    if (n === ids.length) return say(`${n} of ${ids.length} ${word}`);
    if (performance.now() > limit) throw new Error(`${n} of ${ids.length} ${word}, and no more`);
    if (Math.floor((n * 10) / ids.length) > told) {
      told = Math.floor((n * 10) / ids.length);
      say(`${n} of ${ids.length} ${word}`);
    }
    await sleep(250);
  }
}

const namesOf = async (house) =>
  (await house.db.ops((tx) => house.engine.listClusters(tx, { limit: 500 }))).items.map((c) => [c.clusterId, c.name]);

async function settled(house, clusterId) {
  const limit = performance.now() + PATIENCE_MS;
  for (;;) {
    const c = await house.db.ops((tx) => house.engine.getCluster(tx, clusterId));
    if (c.phase === 'active' && c.generation === c.observedGeneration) return;
    if (performance.now() > limit) throw new Error(`cluster ${c.name} stays ${c.phase}`);
    await sleep(100);
  }
}

/** Operations of a kind, all succeeded. */
async function done(house, kind, count, say, word) {
  const limit = performance.now() + PATIENCE_MS;
  for (;;) {
    const [{ n, bad }] = await house.rows(
      `select count(*) filter (where state = 'succeeded')::int as n, count(*) filter (where state in ('failed', 'cancelled'))::int as bad from operations where kind = $1`,
      [kind],
    );
    if (bad > 0) throw new Error(`${bad} operations "${kind}" did not succeed`);
    if (n >= count) return say(`${n} ${word}`);
    if (performance.now() > limit) throw new Error(`${n} of ${count} ${word}, and no more`);
    await sleep(200);
  }
}
