import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { elsewhere } from '#platform/testing';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness({ placementPolicy: { cellCapacity: 1 }, times: { superviseMs: 0, clustersPerLook: 2 } });
  for (let n = 0; n < 5; n++) await h.request();
  await h.settle();
});
afterAll(() => h?.close());

/** Clusters by name, with when they were seen last. */
const seenAt = async (): Promise<string[]> =>
  (await h.ops((tx) => tx.query<{ at: string | null }>(`select observed ->> 'observedAt' as at from clusters order by cluster_id`))).map(
    (r) => r.at ?? '',
  );
/** One look; which clusters it asked, by their place in the order of ids. */
async function look(force = false): Promise<number[]> {
  h.clock.advance(1_000);
  const now = h.clock.now().toISOString();
  await h.engine.supervise({ force });
  return (await seenAt()).flatMap((at, n) => (at === now ? [n] : []));
}

describe('the supervisor of a large fleet', () => {
  it('goes through it in several looks, one after the other, and through all of it at once where it is told to', async () => {
    expect([await look(), await look(), await look(), await look()]).toEqual([[0, 1], [2, 3], [4], [0, 1]]);
    expect(await look(true)).toEqual([0, 1, 2, 3, 4]);
    expect(await look()).toEqual([0, 1]);
  });

  it('leaves a row that is in work alone, and one that does not answer holds up no other', async () => {
    const [first, second] = await h.ops((tx) =>
      tx.query<{ cluster_id: string; name: string }>('select cluster_id, name from clusters order by cluster_id'),
    );
    h.driver.on('observe', (run) => (h.driver.calls.at(-1)!.clusterRef === second!.name ? Promise.reject(new Error('no route')) : run()));
    let seen: number[] = [];
    await h.ops(async (tx) => {
      await tx.query('select 1 from clusters where cluster_id = $1 for update', [first!.cluster_id]);
      seen = await elsewhere(() => look(true));
    });
    h.driver.off('observe');
    expect(seen).toEqual([2, 3, 4]);
    expect(await look(true)).toEqual([0, 1, 2, 3, 4]);
  });

  it('repairs what is down, in whichever look it is seen', async () => {
    const last = (await h.ops((tx) => tx.query<{ name: string }>('select name from clusters order by cluster_id'))).at(-1)!;
    h.driver.fake.clusters.get(last.name)!.broken = true;
    const started = [];
    for (let n = 0; n < 3; n++) started.push(await h.engine.supervise());
    expect(started).toEqual([0, 0, 1]);
  });
});
