import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GcpSandbox } from './support/sandbox-process.js';

describe('private offers on Google Cloud (contract gcp §5)', () => {
  let sandbox: GcpSandbox;
  beforeAll(async () => {
    sandbox = await GcpSandbox.start();
  });
  afterAll(() => sandbox?.stop());

  const active = async (privateOffer: Record<string, unknown>): Promise<string> => {
    const { entitlementId } = await sandbox.buy({ privateOffer });
    await sandbox.adapter.acknowledge(await sandbox.truth(entitlementId), { tenantId: randomUUID() });
    return entitlementId;
  };
  const told = async (id: string, type: string) =>
    (await sandbox.adapter.normalise((await sandbox.message(id, `ENTITLEMENT_${type}`)).stored))[0]!;

  it('an offer that is over ends nothing: the purchase goes on at list price', async () => {
    const id = await active({ price: '19.50', durationMonths: 1 });
    await sandbox.advance(32 * 86_400);
    const event = await told(id, 'OFFER_ENDED');
    expect(event).toMatchObject({ kind: 'changed', truth: { state: 'active', endsAt: null } });
    expect(event.truth!.term!.endsAt! < sandbox.clock.now(), 'the end of the offer lies in the past').toBe(true);
  });

  it('an offer that is over with a cancellation is ended by the cancellation alone', async () => {
    const id = await active({ durationMonths: 1, afterEnd: 'cancel' });
    await sandbox.advance(32 * 86_400);
    expect(await told(id, 'CANCELLED')).toMatchObject({ kind: 'ended', truth: { state: 'ended' } });
    expect(await told(id, 'OFFER_ENDED'), 'stale by then').toMatchObject({ kind: 'noted' });
  });

  it('a new offer on the same plan is asked for as a change of nothing, which must be accepted', async () => {
    const id = await active({ price: '19.50' });
    await sandbox.act(id, 'replace-offer', { price: '17' });
    const event = await told(id, 'PLAN_CHANGE_REQUESTED');
    expect(event).toMatchObject({ kind: 'change_requested', change: { toExternalPlanId: 'standard', isRevert: true } });
    if (event.kind !== 'change_requested') throw new Error('not a change');
    await sandbox.adapter.answerChange(event.truth!, event.change!, { accept: true });
    const { price } = await sandbox.control<{ price: { amount: string } }>('GET', `/gcp/entitlements/${id}`);
    expect(price.amount).toBe('17');
    expect(await told(id, 'PLAN_CHANGED')).toMatchObject({ kind: 'changed', truth: { externalPlanId: 'standard' } });
  });

  it('what a person approved in the portal is active without a call of ours', async () => {
    const { entitlementId: id } = await sandbox.buy({ privateOffer: { price: '9' } });
    await sandbox.act(id, 'portal');
    expect(await told(id, 'ACTIVE')).toMatchObject({ kind: 'activated', truth: { state: 'active' } });
  });
});
