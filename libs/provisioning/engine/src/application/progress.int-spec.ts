import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engineHarness, START, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeEach(async () => {
  h = await engineHarness();
});
afterEach(() => h?.close());

describe('work that takes long', () => {
  it("shows step, what is awaited and the driver's words while it runs", async () => {
    const made = await h.request();
    const { clusterId } = await h.clusterOf(made.placementId);
    let ready = false;
    h.driver.on('apply', async (run) =>
      ready
        ? run()
        : {
            handle: 'h1',
            phase: 'running',
            progress: [{ step: 'boot', state: 'running', at: START, detail: 'node 1 of 1' }],
            retryAfterMs: 60_000,
          },
    );
    await h.drain();
    expect(await h.db.tenant(made.tenantId, (tx) => h.engine.progress(tx, made.subscriptionId))).toMatchObject({
      state: 'running',
      phase: 'provisioning',
      step: 3,
      steps: 5,
      awaited: 'the cluster to be built',
      message: 'Step apply begins.',
      stepName: 'apply',
      since: new Date(START),
      retrying: false,
      error: null,
    });
    expect((await h.lastOperation(clusterId)).log.at(-1)).toEqual({ at: START, phase: 'provisioning', message: 'boot: node 1 of 1' });
    ready = true;
    await h.settle();
    expect((await h.placement(made.placementId)).phase).toBe('active');
    expect(new Set(h.driver.of('apply').map((c) => c.operationId)).size).toBe(1);
  });
});
