import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness();
});
afterAll(() => h?.close());

type Wish = NonNullable<Parameters<Harness['request']>[0]>;
const M = 1_000_000n;
/** Where it came to. */
const place = async (wish: Wish): Promise<{ placementId: string; clusterId: string }> => {
  const { placementId } = await h.request({ shape: 'bound', ...wish });
  return { placementId, clusterId: (await h.clusterOf(placementId)).clusterId };
};

describe('the room of a cluster', () => {
  it('is counted in bytes and in slots for identity providers, and what is kept takes room until it is purged', async () => {
    const first = await place({ identity: ['oidc'], bytes: 2n * M });
    expect((await place({ bytes: M, identity: ['ldap'] })).clusterId).toBe(first.clusterId);
    // Its bytes are all set aside; then its one slot is taken, although there are bytes.
    const second = await place({ bytes: M });
    expect(second.clusterId).not.toBe(first.clusterId);
    const third = await place({ identity: ['oidc'], bytes: 2n * M });
    expect(third.clusterId).toBe(second.clusterId);
    const fourth = await place({ identity: ['oidc'], bytes: 0n });
    expect([first.clusterId, second.clusterId]).not.toContain(fourth.clusterId);

    await h.settle();
    await h.ops((tx) => h.engine.endAccess(tx, first.placementId, { at: h.clock.now() }));
    await h.settle();
    expect((await place({ bytes: 3n * M })).clusterId).not.toBe(first.clusterId);
    await h.purge(first.placementId);
    await h.settle();
    expect((await place({ identity: ['oidc'], bytes: 2n * M })).clusterId).toBe(first.clusterId);
  });

  it('refuses what no cluster of the shape will ever have, before anything is made', async () => {
    const before = await h.one<{ n: number }>('select count(*)::int as n from clusters');
    await expect(place({ bytes: 4n * M })).rejects.toMatchObject({ code: 'placement.larger_than_shape' });
    await expect(place({ identity: ['saml'] })).rejects.toMatchObject({ code: 'placement.identity_unsupported' });
    expect(await h.one('select count(*)::int as n from clusters')).toEqual(before);
  });

  it('is nobody else’s where the placement is dedicated', async () => {
    const alone = await place({ dedicated: true, bytes: M });
    expect((await place({ dedicated: true, bytes: M })).clusterId).not.toBe(alone.clusterId);
    expect((await place({ bytes: M })).clusterId).not.toBe(alone.clusterId);
    expect(await h.one('select variant from clusters where cluster_id = $1', [alone.clusterId])).toEqual({ variant: 'dedicated' });
  });

  it('does not shrink below what is set aside', async () => {
    const { clusterId } = await place({ dedicated: true, bytes: 2n * M, identity: ['oidc'] });
    await h.settle();
    const resize = (to: { shape?: string; capacityBytes?: string }): Promise<unknown> =>
      h.ops((tx) => h.engine.resizeCluster(tx, clusterId, { by: 'operator:ann', reason: 'Too large.', ...to }));
    await expect(resize({ capacityBytes: '1999999' })).rejects.toMatchObject({ code: 'cluster.size_reserved' });
    await expect(resize({ shape: 'large' })).rejects.toThrow(/oidc/);
    expect(await resize({ capacityBytes: '2000000' })).toMatchObject({ operationId: expect.any(String) });
  });
});
