import { randomBytes } from 'node:crypto';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aCall, aPlacement, outputOf } from '#provisioning/core/testing';
import { cellPaths, processStartTicks, socketFolder, writeJsonAtomic } from './files.js';
import { eventually, LocalHarness, refusalOf, SPEC } from './testing/local-harness.js';

describe('the life of a cell', () => {
  let h: LocalHarness;
  beforeEach(() => {
    h = new LocalHarness();
  });
  afterEach(() => h.dispose());

  const gone = (pid: number): Promise<unknown> => eventually(() => processStartTicks(pid) === null);

  it('killed in the middle of traffic, it comes back by supervision with every answered request counted', async () => {
    const p = aPlacement();
    await h.cell('traffic', [p]);
    await h.container('traffic', p).create();
    const before = await h.counters('traffic', p.placementId);
    let answered = 0;
    let stop = false;
    const size = 10_000;
    const clients = Array.from({ length: 6 }, async (_, i) => {
      for (let n = 0; !stop; n += 1) {
        try {
          await h.container('traffic', p).getBlockBlobClient(`c${i}-${n}`).uploadData(randomBytes(size));
          answered += 1;
        } catch {
          return;
        }
      }
    });
    await eventually(() => answered > 60);
    const { pid, gatewayPort } = h.pid('traffic');
    h.kill('traffic');
    stop = true;
    await Promise.all(clients);
    await gone(pid);
    expect((await outputOf(() => h.driver.observe(aCall('traffic')))).health).toBe('down');
    expect(await h.driver.supervise()).toEqual({ restarted: ['traffic'], failed: [] });
    expect(h.pid('traffic').gatewayPort).toBe(gatewayPort);
    const after = await h.counters('traffic', p.placementId);
    const requests = after.requests - before.requests;
    // Each answered one is in; at most one per client may be counted whose answer did not arrive.
    expect(requests).toBeGreaterThanOrEqual(answered);
    expect(requests).toBeLessThanOrEqual(answered + clients.length);
    expect(after.in - before.in).toBe(requests * size);
    expect(await h.status('traffic').then((s) => s.metering.epoch)).toMatch(/^[0-9a-f]{12}$/);
  });

  it('keeps over a kill what was saved, its suspensions and its quotas, without a control plane', async () => {
    const kept = aPlacement();
    const closed = aPlacement();
    const full = aPlacement({ limits: { hardQuotaBytes: '100' } });
    await h.cell('memory', [kept, closed, full]);
    await h.container('memory', kept).create();
    await h.container('memory', full).create();
    const began = Date.now();
    await h.container('memory', kept).getBlockBlobClient('old').uploadData(Buffer.from('still here'));
    const suspend = aCall('memory');
    await outputOf(() => h.driver.suspend(suspend, { placementId: closed.placementId, kind: 'access' }));
    // Saved when the metadata file is younger than the write.
    await eventually(
      () =>
        statSync(join(cellPaths(h.folder('memory')).blobs, 'blobs.json')).mtimeMs > began + 5 &&
        readFileSync(join(cellPaths(h.folder('memory')).blobs, 'blobs.json'), 'utf8').includes('"old"'),
    );
    const { pid } = h.pid('memory');
    h.kill('memory');
    await gone(pid);
    await h.driver.ensureRunning('memory');
    expect((await h.container('memory', kept).getBlockBlobClient('old').downloadToBuffer()).toString()).toBe('still here');
    expect(await refusalOf(h.service('memory', closed).getProperties())).toEqual({ status: 403, code: 'AccountIsDisabled' });
    expect(await refusalOf(h.container('memory', full).getBlockBlobClient('x').uploadData(randomBytes(101)))).toMatchObject({
      code: 'QuotaExceeded',
    });
  });

  it('outlives the process that started it and is adopted by the next one', async () => {
    const p = aPlacement();
    await h.cell('adopted', [p]);
    await h.container('adopted', p).create();
    const { pid } = h.pid('adopted');
    // Detached: a session and a group of its own, so a kill of the control plane's group does not reach it.
    const [, , group, session] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ').map(Number);
    expect([group, session]).toEqual([pid, pid]);
    const next = h.another();
    expect(await next.ensureRunning('adopted')).toEqual({ pid, started: false });
    expect(await next.supervise()).toEqual({ restarted: [], failed: [] });
    await h.container('adopted', p).getProperties();
  });

  it('lives on when the whole control plane is killed with SIGKILL', async () => {
    await h.cell('orphaned');
    const { pid } = h.pid('orphaned');
    process.kill(pid, 'SIGTERM');
    await gone(pid);
    // A control plane of its own, started the way the driver starts a cell, then killed with its group.
    const script = `const {spawn}=require('child_process');const c=spawn(process.execPath,[${JSON.stringify(h.entry)},${JSON.stringify(h.folder('orphaned'))},'--berth-cell=orphaned'],{detached:true,stdio:'ignore'});c.unref();setInterval(()=>{},1000)`;
    const parent = spawn(process.execPath, ['-e', script], { detached: true, stdio: 'ignore' });
    await eventually(
      async () => (await outputOf(() => h.driver.observe(aCall('orphaned')))).health,
      (x) => x === 'ok',
    );
    process.kill(-parent.pid!, 'SIGKILL');
    await gone(parent.pid!);
    const outcome = await h.driver.ensureRunning('orphaned');
    expect(outcome.started).toBe(false);
  });

  it('never adopts and never kills a process that has got the pid of a dead cell', async () => {
    await h.cell('recycled');
    const record = h.pid('recycled');
    h.kill('recycled');
    await gone(record.pid);
    const stranger = spawn(process.execPath, ['-e', 'setInterval(()=>{},1000)'], { stdio: 'ignore' });
    try {
      await eventually(() => processStartTicks(stranger.pid!) !== null);
      for (const startTicks of [record.startTicks, null]) {
        writeJsonAtomic(cellPaths(h.folder('recycled')).pid, { ...record, pid: stranger.pid, startTicks });
        const seen = await outputOf(() => h.driver.observe(aCall('recycled')));
        expect(seen.nodes).toMatchObject([{ state: 'stopped' }]);
      }
      const call = aCall('recycled');
      expect((await outputOf(() => h.driver.delete(call, { confirm: 'recycled' }))).survivors).toEqual([]);
      expect(processStartTicks(stranger.pid!)).not.toBeNull();
      expect(existsSync(h.folder('recycled'))).toBe(false);
    } finally {
      stranger.kill('SIGKILL');
    }
  });

  it('finds a process whose folder is gone, and deletes it by its label', async () => {
    await h.cell('ghost');
    const { pid } = h.pid('ghost');
    execFileSync('rm', ['-rf', h.folder('ghost')]);
    const { items } = await outputOf(() => h.driver.inventory(aCall('ghost')));
    expect(items).toMatchObject([{ kind: 'cell-process', clusterRef: 'ghost', state: 'running' }]);
    const call = aCall('ghost');
    await outputOf(() => h.driver.delete(call, { confirm: 'ghost' }));
    await gone(pid);
  });

  it('refuses to run twice: the second process ends and the first serves on', async () => {
    await h.cell('twice');
    const { pid } = h.pid('twice');
    const second = spawn(process.execPath, [h.entry, h.folder('twice'), '--berth-cell=twice'], { stdio: 'ignore' });
    expect(await new Promise((done) => second.on('exit', done))).toBe(3);
    expect(await h.driver.ensureRunning('twice')).toEqual({ pid, started: false });
  });

  it('is not started again while it is being deleted, and leaves no file, socket or process', async () => {
    await h.cell('removed');
    const { pid } = h.pid('removed');
    const sockets = socketFolder(h.folder('removed'));
    expect(existsSync(sockets)).toBe(true);
    const call = aCall('removed');
    let done = false;
    const watching = (async () => {
      while (!done) {
        expect((await h.driver.supervise()).restarted).toEqual([]);
        await new Promise(setImmediate);
      }
    })();
    await outputOf(() => h.driver.delete(call, { confirm: 'removed' }));
    done = true;
    await watching;
    await gone(pid);
    expect([existsSync(h.folder('removed')), existsSync(sockets)]).toEqual([false, false]);
    expect((await outputOf(() => h.driver.inventory(aCall('x-x')))).items).toEqual([]);
  });

  it('loses the data and keeps the counters when an approved plan replaces it', async () => {
    const p = aPlacement();
    await h.cell('replaced', [p]);
    await h.container('replaced', p).create();
    await h.container('replaced', p).getBlockBlobClient('x').uploadData(Buffer.from('12345'));
    const before = await h.counters('replaced', p.placementId);
    const plan = await outputOf(() => h.driver.plan(aCall('replaced'), { ...SPEC, region: 'local-b' }));
    // A caller that hides the destruction is not believed.
    const sly = aCall('replaced');
    await expect(h.driver.apply(sly, { plan: { ...plan, destructive: false, destroys: [] } })).rejects.toMatchObject({
      code: 'plan.not_approved',
    });
    const call = aCall('replaced');
    await outputOf(() => h.driver.apply(call, { plan, approval: { planHash: plan.hash, names: plan.destroys } }));
    expect(await h.counters('replaced', p.placementId)).toEqual({ ...before, stored: 0 });
    expect(await h.container('replaced', p).exists()).toBe(false);
  });

  it('lets go of a cell without touching it, and takes it over again', async () => {
    await h.cell('custody');
    const { pid } = h.pid('custody');
    const release = aCall('custody');
    await outputOf(() => h.driver.release(release));
    await expect(h.driver.ensureRunning('custody')).rejects.toMatchObject({ code: 'cluster.released' });
    const adopt = aCall('custody-new');
    await outputOf(() => h.driver.import(adopt, { externalId: 'custody' }));
    expect(await h.driver.ensureRunning('custody-new')).toEqual({ pid, started: false });
  });

  it('refuses more cells than the machine takes before it makes a folder', async () => {
    const small = h.another({ maxCells: 1 });
    await h.cell('first');
    const plan = await outputOf(() => small.plan(aCall('second'), SPEC));
    expect((await outputOf(() => small.preflight(aCall('second'), SPEC))).ok).toBe(false);
    await expect(small.apply(aCall('second'), { plan })).rejects.toMatchObject({ class: 'quota', code: 'cluster.too_many' });
    expect(existsSync(h.folder('second'))).toBe(false);
  });
});
