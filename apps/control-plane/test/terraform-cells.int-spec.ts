import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aCall, aPlacement, outputOf, untilDone } from '#provisioning/core/testing';
import { defaultCellsProgram, LocalDriver } from '#provisioning/drivers/local';
import { PATIENCE_MS, SPEC, TerraformHouse } from './support/terraform.js';
import { until } from './support/house.js';

const LARGE = { ...SPEC, shape: 'cell-large' };

describe('real cells built by terraform', () => {
  let h: TerraformHouse;
  beforeAll(async () => {
    h = await new TerraformHouse().start();
  });
  afterAll(() => h?.dispose());

  /** Living cells of these clusters: counted as processes, each by itself. */
  const count = (...refs: string[]): string[] =>
    h
      .cellProcesses()
      .filter((cell) => refs.includes(cell))
      .sort();
  const folders = (): string[] => readdirSync(join(h.root, 'cells/cells')).sort();
  const observed = (ref: string) => outputOf(() => h.driver.observe(aCall(ref)));
  const remove = async (ref: string): Promise<void> => {
    const call = aCall(ref);
    expect(await outputOf(() => h.driver.delete(call, { confirm: ref }), PATIENCE_MS)).toEqual({ survivors: [] });
  };

  it('builds, resizes and deletes twelve clusters at once, and leaves nothing', async () => {
    const refs = Array.from({ length: 12 }, (_, i) => `twelve-${String(i).padStart(2, '0')}`);
    await Promise.all(refs.map((ref) => h.cluster(ref)));
    expect(count(...refs)).toEqual(refs);
    await Promise.all(refs.map((ref) => h.cluster(ref, LARGE)));
    for (const ref of refs) expect(await h.cells.specOf(ref)).toMatchObject({ shape: 'cell-large' });
    // A resize is no restart: the same twelve.
    expect(count(...refs)).toEqual(refs);
    await Promise.all(refs.map(remove));
    expect(count(...refs)).toEqual([]);
    expect(folders()).toEqual([]);
    expect(h.processes()).toEqual([]);
    const held = await h.rows('select 1 from terraform_clusters where lock_id is not null');
    expect(held).toEqual([]);
  }, 400_000);

  it('keeps tenants and their data over a resize', async () => {
    const ref = 'with-data';
    await h.cluster(ref);
    const placement = aPlacement();
    const endpoint = await h.configure(ref, [placement]);
    await h.container(ref, placement).createIfNotExists();
    await h.container(ref, placement).getBlockBlobClient('a').upload('kept', 4);
    await h.cluster(ref, LARGE);
    expect(await h.configure(ref, [placement])).toBe(endpoint);
    expect((await h.container(ref, placement).getBlockBlobClient('a').downloadToBuffer()).toString()).toBe('kept');
    await remove(ref);
  });

  it('leaves a cell where it posts its usage when it is resized: the program that does it knows of no intake', async () => {
    const ref = 'metered';
    await h.cluster(ref);
    const ingest = { url: 'http://127.0.0.1:9/usage', key: 'a-cell-key' };
    const told = new LocalDriver({ rootFolder: join(h.root, 'cells'), ingest, clock: h.clock });
    const call = aCall(ref, { generation: 40 });
    await outputOf(() => told.configure(call, { placements: [], purge: [] }));
    const kept = () => (JSON.parse(readFileSync(join(h.root, 'cells/cells', ref, 'desired.json'), 'utf8')) as { ingest: unknown }).ingest;
    expect(kept()).toEqual(ingest);
    await h.cluster(ref, LARGE);
    expect(await h.cells.specOf(ref)).toMatchObject({ shape: 'cell-large' });
    expect(kept()).toEqual(ingest);
    await remove(ref);
  });

  it('makes one cell, not two, when the run that makes it is killed and it is asked again', async () => {
    const ref = 'killed';
    const plan = await h.planned(ref);
    const call = aCall(ref);
    await h.driver.apply(call, { plan });
    // Everything of the run at once, as soon as the cell's program or the cell itself is there.
    const run = await until(
      async () => h.processes().filter(({ command }) => command.includes(`--cluster ${ref} `) && command.includes('cells-program')),
      (found) => found.length > 0,
    );
    for (const { pid } of run) process.kill(pid, 'SIGKILL');
    const broken = await untilDone(() => h.driver.apply(call, { plan }));
    expect(broken.phase).toBe('failed');
    await h.cluster(ref);
    expect(count(ref)).toEqual([ref]);
    expect(await observed(ref)).toMatchObject({ exists: true, health: 'ok' });
    await remove(ref);
    expect(count(ref)).toEqual([]);
  });

  it('repairs a cell that was killed by configuring it, and tells a cell that is gone as a loss', async () => {
    const ref = 'lost';
    await h.cluster(ref);
    h.killCell(ref);
    await until(
      async () => observed(ref),
      (o) => o.health === 'down',
    );
    expect(await h.planned(ref)).toMatchObject({ create: 0, update: 0, replace: 0 });
    await h.configure(ref, [aPlacement()]);
    expect((await observed(ref)).health).toBe('ok');
    h.killCell(ref);
    rmSync(join(h.root, 'cells/cells', ref), { recursive: true });
    expect(await h.planned(ref)).toMatchObject({ replace: 1, destroys: [ref] });
    await remove(ref);
  });

  it('refuses the cells themselves to a run that was overtaken', async () => {
    const ref = 'overtaken';
    await h.cluster(ref);
    const call = aCall(ref, { fencingToken: 5, generation: 50 });
    await outputOf(() => h.driver.configure(call, { placements: [], purge: [] }));
    // What an old run would do, past the state backend: its provisioner itself.
    const said = await new Promise<string>((done) =>
      execFile(
        process.execPath,
        [defaultCellsProgram(), 'remove', '--root', join(h.root, 'cells'), '--cluster', ref, '--token', '4'],
        (_error, _out, words) => done(words),
      ),
    );
    expect(said).toContain('"code":"driver.fenced"');
    expect(count(ref)).toEqual([ref]);
    const deletion = aCall(ref, { fencingToken: 5 });
    expect(await outputOf(() => h.driver.delete(deletion, { confirm: ref }))).toEqual({ survivors: [] });
  });

  it('lets go of a cluster and takes it up again, and adopts a cell that no state knows', async () => {
    const ref = 'let-go';
    await h.cluster(ref);
    const letting = aCall(ref);
    await outputOf(() => h.driver.release(letting));
    expect((await outputOf(() => h.driver.inventory(aCall(ref)))).items.find((i) => i.clusterRef === ref)).toMatchObject({
      managed: false,
    });
    await expect(h.driver.delete(aCall(ref), { confirm: ref })).rejects.toMatchObject({ code: 'cluster.released' });
    const taking = aCall(ref);
    await outputOf(() => h.driver.import(taking, { externalId: ref }));
    await remove(ref);

    const planning = aCall('foreign');
    const plan = await outputOf(() => h.cells.plan(planning, LARGE));
    const making = aCall('foreign');
    await outputOf(() => h.cells.apply(making, { plan }));
    const before = h.processes().filter((p) => p.command.includes('--berth-cell=foreign'));
    const adopting = aCall('adopted');
    await outputOf(() => h.driver.import(adopting, { externalId: 'foreign' }));
    expect(await observed('adopted')).toMatchObject({ exists: true, health: 'ok' });
    expect(await h.planned('adopted', LARGE)).toMatchObject({ create: 0, update: 0, replace: 0 });
    expect(h.processes().filter((p) => p.command.includes('--berth-cell=foreign'))).toEqual(before);
    await remove('adopted');
    expect(existsSync(join(h.root, 'cells/cells/foreign'))).toBe(false);
    expect(count('let-go', 'foreign', 'adopted')).toEqual([]);
  });
});
