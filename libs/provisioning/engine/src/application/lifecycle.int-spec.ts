import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { uuidv7 } from '#platform';
import { engineHarness, START, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness();
});
afterAll(() => h?.close());
afterEach(() => {
  h.events.length = 0;
});

describe("a placement's life", () => {
  it('goes from the request to an endpoint that serves, with a proof in between', async () => {
    const made = await h.request();
    const before = await h.ops((tx) => h.engine.progress(tx, made.subscriptionId));
    expect(before).toMatchObject({ state: 'running', phase: 'requested', step: 0, steps: 5, operationId: made.operationId });
    await h.settle();

    const p = await h.placement(made.placementId);
    expect(p).toMatchObject({ phase: 'active', activatedAt: new Date(START), accessEndedAt: null });
    expect(p.endpoint).toBe(`fake://${(await h.clusterOf(made.placementId)).name}/${p.accountName}`);
    expect(h.eventsOf(made.placementId)).toEqual(['placement.active']);
    expect(await h.ops((tx) => h.engine.progress(tx, made.subscriptionId))).toMatchObject({
      state: 'succeeded',
      step: 5,
      steps: 5,
      awaited: null,
      message: 'The endpoint serves.',
    });
    const cluster = await h.ops((tx) => h.engine.getCluster(tx, p.clusterId));
    expect(cluster).toMatchObject({ phase: 'active', generation: '1', observedGeneration: '1', placements: 1, error: null });
    const [operation] = (await h.ops((tx) => h.engine.listOperations(tx, { limit: 10 }, { subjectId: p.clusterId }))).items;
    expect(operation).toMatchObject({ kind: 'create_cluster', state: 'succeeded', tenantId: null });
    const steps = await h.ops((tx) => h.engine.listSteps(tx, operation!.operationId));
    expect(steps.map((s) => [s.name, s.state])).toEqual([
      ['preflight', 'ok'],
      ['plan', 'ok'],
      ['apply', 'ok'],
      ['configure', 'ok'],
      ['validate', 'ok'],
    ]);
  });

  it('makes one placement of two requests for one subscription at the same moment', async () => {
    const ids = { subscriptionId: uuidv7(), tenantId: uuidv7() };
    const [a, b] = await Promise.all([h.request(ids), h.request(ids)]);
    expect(b.placementId).toBe(a.placementId);
    expect(b.operationId).toBe(a.operationId);
    expect(await h.one('select count(*)::int as n from placements where subscription_id = $1', [ids.subscriptionId])).toEqual({ n: 1 });
  });

  it('gives credentials that only their tenant can read, sealed in the database', async () => {
    const made = await h.serving();
    const own = await h.db.tenant(made.tenantId, (tx) => h.engine.credentials(tx, made.placementId));
    expect(own.keys.map((k) => k.id)).toEqual(['k1']);
    expect(Buffer.from(own.keys[0]!.secretBase64, 'base64')).toHaveLength(64);
    const row = await h.one<{ sealed: string }>('select sealed from placement_credentials where placement_id = $1', [made.placementId]);
    expect(row.sealed).not.toContain(own.keys[0]!.secretBase64);
    const leaks = await h.one<{ n: number }>(`select count(*)::int as n from operation_steps where intent ? 'sealed'`);
    expect(leaks.n).toBe(0);
    await expect(h.db.tenant(uuidv7(), (tx) => h.engine.credentials(tx, made.placementId))).rejects.toMatchObject({
      code: 'placement.unknown',
    });
    await expect(h.db.tenant(uuidv7(), (tx) => tx.query('select * from placement_credentials'))).resolves.toEqual([]);
    await expect(h.db.tenant(made.tenantId, (tx) => h.engine.listPlacements(tx, { limit: 10 }))).resolves.toMatchObject({
      items: [{ placementId: made.placementId }],
      nextCursor: null,
    });
    await expect(h.db.tenant(made.tenantId, (tx) => tx.query('select * from clusters'))).rejects.toThrow('permission denied');
  });

  it('suspends and resumes: nobody gets in meanwhile, the data stays', async () => {
    const made = await h.serving();
    h.driver.fake.write(made.name, made.placementId, 'a', 'kept');
    await h.ops((tx) => h.engine.suspend(tx, made.placementId, { reason: 'unpaid', at: h.clock.now() }));
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'suspended', lastSample: { acknowledged: true } });
    expect(() => h.driver.fake.read(made.name, made.placementId, 'a')).toThrow('403');
    expect(await h.ops((tx) => h.engine.suspend(tx, made.placementId, { reason: 'unpaid', at: h.clock.now() }))).toEqual({
      operationId: null,
    });

    await h.ops((tx) => h.engine.resume(tx, made.placementId));
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'active', activatedAt: expect.any(Date), lastSample: null });
    expect(h.driver.fake.read(made.name, made.placementId, 'a')).toBe('kept');
    expect(h.eventsOf(made.placementId)).toEqual(['placement.active', 'placement.suspended', 'placement.resumed']);
  });

  it('ends a suspended one with the sample that was taken at its suspension', async () => {
    const made = await h.serving();
    await h.ops((tx) => h.engine.suspend(tx, made.placementId, { reason: 'unpaid', at: h.clock.now() }));
    await h.settle();
    const { lastSample } = await h.placement(made.placementId);
    // Nothing has been sampled since: the driver has no other last sample to give.
    h.driver.on('configure', async (run) => {
      const r = (await run()) as unknown as { output?: object };
      return r.output ? { ...r, output: { ...r.output, lastSamples: [] } } : r;
    });
    await h.ops((tx) => h.engine.endAccess(tx, made.placementId, { at: h.clock.now() }));
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'ended', lastSample });
    expect(h.eventsOf(made.placementId)).toEqual(['placement.active', 'placement.suspended', 'placement.access_ended']);
  });

  it('changes the hard quota in the data path and tells it once', async () => {
    const made = await h.serving();
    await h.ops((tx) => h.engine.setLimits(tx, made.placementId, { hardQuotaBytes: 5n }));
    await h.settle();
    expect(h.driver.fake.clusters.get(made.name)!.placements.get(made.placementId)!.limits).toEqual({ hardQuotaBytes: '5' });
    expect(await h.ops((tx) => h.engine.setLimits(tx, made.placementId, { hardQuotaBytes: 5n }))).toEqual({ operationId: null });
    await h.settle();
    expect(h.eventsOf(made.placementId)).toEqual(['placement.active', 'placement.limits_changed']);
  });

  it('keeps the old key working beside the new one, and drops the third', async () => {
    const made = await h.serving();
    const sent = () =>
      h.driver.fake.clusters
        .get(made.name)!
        .placements.get(made.placementId)!
        .keys.map((k) => k.id);
    await h.ops((tx) => h.engine.rotateKey(tx, made.placementId));
    await h.settle();
    expect(sent()).toEqual(['k1', 'k2']);
    expect(await h.ops((tx) => h.engine.rotateKey(tx, made.placementId))).toMatchObject({ keyId: 'k3' });
    await h.settle();
    expect(sent()).toEqual(['k2', 'k3']);
  });

  it('ends access with a last sample, waits for its acknowledgement, and keeps the data until the purge', async () => {
    const made = await h.serving();
    h.driver.fake.write(made.name, made.placementId, 'a', 'kept');
    let backlog = 3;
    h.driver.on('configure', async (run) => {
      const r = (await run()) as unknown as { output?: { lastSamples: { acknowledged: boolean }[] } };
      return r.output
        ? { ...r, output: { ...r.output, lastSamples: r.output.lastSamples.map((s) => ({ ...s, acknowledged: false })) } }
        : r;
    });
    h.driver.on('observe', async (run) => {
      const r = (await run()) as unknown as { output: object };
      return {
        ...r,
        output: {
          ...r.output,
          metering: {
            epoch: 'e',
            sequence: '9',
            backlog,
            oldestBacklogAt: backlog ? START : null,
            refused: 0,
            dropped: 0,
            lastSampleAt: null,
            lastError: null,
          },
        },
      };
    });
    await h.ops((tx) => h.engine.endAccess(tx, made.placementId, { at: h.clock.now() }));
    await h.settle(10_000);
    expect(await h.placement(made.placementId)).toMatchObject({
      phase: 'ending',
      accessEndedAt: expect.any(Date),
      lastSample: { acknowledged: false },
    });
    expect(await h.ops((tx) => h.engine.progress(tx, made.subscriptionId))).toMatchObject({
      kind: 'end_access',
      step: 2,
      steps: 2,
      awaited: 'the acknowledgement of the last sample',
    });
    expect(h.eventsOf(made.placementId)).toEqual(['placement.active']);
    await expect(h.ops((tx) => h.engine.purge(tx, made.placementId))).rejects.toMatchObject({ code: 'placement.in_state' });

    backlog = 0;
    await h.settle();
    h.driver.off('configure');
    h.driver.off('observe');
    expect(await h.placement(made.placementId)).toMatchObject({
      phase: 'ended',
      lastSample: { acknowledged: true, sequence: expect.any(String) },
    });
    expect(h.eventsOf(made.placementId)).toEqual(['placement.active', 'placement.access_ended']);
    expect(h.driver.fake.clusters.get(made.name)!.data.get(made.placementId)?.get('a')).toBe('kept');
    await expect(h.ops((tx) => h.engine.resume(tx, made.placementId))).rejects.toMatchObject({ code: 'placement.in_state' });
    await expect(h.ops((tx) => h.engine.credentials(tx, made.placementId))).rejects.toMatchObject({ code: 'placement.in_state' });

    await h.purge(made.placementId);
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'purged', purgedAt: expect.any(Date) });
    expect(h.driver.fake.clusters.get(made.name)!.data.has(made.placementId)).toBe(false);
    expect(h.eventsOf(made.placementId).at(-1)).toBe('placement.purged');
  });

  it('takes no word for it that data is gone: what survives its deletion stays open, and is deleted when it is tried again', async () => {
    const made = await h.serving();
    const other = await h.serving();
    await h.ops((tx) => h.engine.endAccess(tx, made.placementId, { at: h.clock.now() }));
    await h.settle();
    h.driver.on('observe', async (run) => {
      const r = (await run()) as unknown as { output: { placements: object[] } };
      const left = { placementId: made.placementId, accountName: 'left', state: 'closed', endpoint: '', storedBytes: '4', counters: {} };
      return { ...r, output: { ...r.output, placements: [...r.output.placements, left] } };
    });
    await h.purge(made.placementId);
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'purging', purgedAt: null });
    const [failed] = (await h.ops((tx) => h.engine.listOperations(tx, { limit: 50 }))).items.filter((o) => o.kind === 'purge');
    expect(failed).toMatchObject({ state: 'failed', error: { code: 'purge.survived' } });
    expect(h.eventsOf(made.placementId)).not.toContain('placement.purged');
    // Others on the cluster do not wait for it.
    await h.ops((tx) => h.engine.suspend(tx, other.placementId, { reason: 'unpaid', at: h.clock.now() }));
    await h.settle();
    expect(await h.placement(other.placementId)).toMatchObject({ phase: 'suspended' });
    h.driver.on('observe', () => Promise.reject(new Error('it does not answer')));
    await h.ops((tx) => h.engine.retryOperation(tx, failed!.operationId));
    await h.settle();
    expect(await h.placement(made.placementId), 'nobody could look').toMatchObject({ phase: 'purging', purgedAt: null });
    h.driver.off('observe');
    await h.ops((tx) => h.engine.retryOperation(tx, failed!.operationId));
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'purged', purgedAt: expect.any(Date) });
  });

  it('lets a cut overtake a suspension that is not in force yet', async () => {
    const made = await h.serving();
    await h.ops(async (tx) => {
      await h.engine.suspend(tx, made.placementId, { reason: 'unpaid', at: h.clock.now() });
      await h.engine.endAccess(tx, made.placementId, { at: h.clock.now() });
    });
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'ended', lastSample: { acknowledged: true } });
    const { items } = await h.ops((tx) => h.engine.listOperations(tx, { limit: 10 }, { subjectId: made.placementId }));
    expect(items.map((o) => [o.kind, o.state])).toEqual([
      ['end_access', 'succeeded'],
      ['suspend', 'cancelled'],
      ['provision', 'succeeded'],
    ]);
  });

  it('pages lists by a cursor, newest first, without a gap', async () => {
    const all = await h.ops((tx) => h.engine.listPlacements(tx, { limit: 500 }));
    const seen: string[] = [];
    for (let after: string | undefined; ;) {
      const page = await h.ops((tx) => h.engine.listPlacements(tx, { limit: 2, after }));
      seen.push(...page.items.map((p) => p.placementId));
      if (!page.nextCursor) break;
      after = page.nextCursor;
    }
    expect(seen).toEqual(all.items.map((p) => p.placementId));
    expect(seen.length).toBeGreaterThan(3);
  });

  it('tells a driver where and with which key a cluster posts its usage', async () => {
    const made = await h.serving();
    expect(await h.engine.usageTarget(made.name)).toEqual({ url: 'http://ingest.test/usage', key: `cell-key-of-${made.clusterId}` });
    expect(await h.engine.usageTarget('cell-nobody')).toBeNull();
  });
});
