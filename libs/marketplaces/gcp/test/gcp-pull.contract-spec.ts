import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PulledMessage } from '#marketplaces/core';
import { GcpSandbox } from './support/sandbox-process.js';

describe('pulling', () => {
  let sandbox: GcpSandbox;
  beforeAll(async () => {
    sandbox = await GcpSandbox.start({}, false);
  });
  afterAll(() => sandbox?.stop());

  it('brings a message again until it is stored, and never after [GC-39]', async () => {
    const { entitlementId } = await sandbox.buy();
    const tries: string[] = [];
    const stored: string[] = [];
    const first = await sandbox.adapter.pull!(async (m) => {
      if (m.externalSubscriptionId !== entitlementId) return;
      tries.push(m.naturalKey);
      if (tries.length === 1) throw new Error('the database is down');
      stored.push(m.naturalKey);
    });
    await sandbox.until(() => stored.length > 0);
    await first.stop();
    expect(tries).toEqual([stored[0], stored[0]]);
    const after: PulledMessage[] = [];
    const second = await sandbox.adapter.pull!(async (m) => void after.push(m));
    await sandbox.publish(Buffer.from([0xff, 0xfe, 0x00]));
    const odd = await sandbox.until(() => after.find((m) => m.naturalKey.startsWith('sha256:')));
    await second.stop();
    expect(odd.body).toContain('undecodable');
    expect(after.filter((m) => m.externalSubscriptionId === entitlementId)).toEqual([]);
  });

  it('waits at its stop for the message in work, which is then acknowledged [GC-39]', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const seen: string[] = [];
    const first = await sandbox.adapter.pull!(async (m) => {
      seen.push(m.naturalKey);
      await held;
    });
    await sandbox.publish(Buffer.from('held'));
    await sandbox.until(() => seen.length > 0);
    const stopped = first.stop();
    release();
    await stopped;
    const again: PulledMessage[] = [];
    const second = await sandbox.adapter.pull!(async (m) => void again.push(m));
    await sandbox.publish(Buffer.from('after'));
    await sandbox.until(() => again.some((m) => m.body === 'after'));
    await second.stop();
    expect(again.map((m) => m.body)).toEqual(['after']);
  });

  it('of a subscription that is not there is tried again and can be stopped; the doctor says what to do [GC-57]', async () => {
    const errors: string[] = [];
    const logger = { debug: () => undefined, warn: () => undefined, error: (_: unknown, text: string) => void errors.push(text) } as never;
    const lost = sandbox.adapterWith({ subscription: 'not-there' }, logger);
    const pulling = await lost.pull!(async () => undefined);
    await sandbox.until(() => errors.length >= 2);
    await pulling.stop();
    expect((await lost.doctor()).find((c) => c.check === 'gcp.pubsub')).toMatchObject({
      result: 'fail',
      remedy: expect.stringContaining('not-there'),
    });
  });
});
