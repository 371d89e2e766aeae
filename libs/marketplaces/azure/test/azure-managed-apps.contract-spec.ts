import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FulfillmentEvent, MarketplaceBusy, type MarketplaceRefs, type StoredInbound } from '#marketplaces/core';
import { AzureSandbox, type Captured } from './support/sandbox-process.js';

type Said = Captured['body'] & { eventType: string; provisioningState: string };

describe('managed applications of azure against the sandbox (contract azure §7)', () => {
  let sandbox: AzureSandbox;
  beforeAll(async () => {
    sandbox = await AzureSandbox.start();
  });
  afterAll(() => sandbox?.stop());

  const deploy = async (extra: Record<string, unknown> = {}): Promise<{ id: string; applicationId: string }> => {
    const { resourceUsageId, applicationId } = await sandbox.control<{ resourceUsageId: string; applicationId: string }>(
      'POST',
      '/azure/managed-applications',
      { offerId: 'object-cells', planId: 'standard', ...extra },
    );
    return { id: resourceUsageId, applicationId };
  };
  const act = (id: string, action: string, body: Record<string, unknown> = {}) =>
    sandbox.control('POST', `/azure/managed-applications/${id}/${action}`, body);
  const told = (applicationId: string, eventType: string, provisioningState: string): Promise<Captured> =>
    sandbox.until(() =>
      sandbox.captured.find(({ body }) => {
        const said = body as Said;
        return said['applicationId'] === applicationId && said.eventType === eventType && said.provisioningState === provisioningState;
      }),
    );
  /** What the adapter makes of it, with what we kept of the purchase. */
  const read = async (captured: Captured, refs: MarketplaceRefs | null = null, ageMs = 0): Promise<FulfillmentEvent[]> => {
    const verdict = await sandbox.adapter.verifyInbound(captured.request);
    if (!verdict.ok) throw new Error(verdict.code);
    const receivedAt = new Date(sandbox.clock.now().getTime() - ageMs);
    const stored: StoredInbound = { ...captured.stored, source: verdict.source, naturalKey: verdict.naturalKey, receivedAt };
    return sandbox.adapter.normalise(stored, () => Promise.resolve(refs));
  };

  it('are a purchase in force once deployed, by their usage id, and nobody acknowledges them [AZ-85]', async () => {
    const { id, applicationId } = await deploy();
    const [event] = await read(await told(applicationId, 'PUT', 'Succeeded'));
    expect(event).toMatchObject({
      kind: 'purchased',
      externalSubscriptionId: id,
      truth: {
        state: 'active',
        externalOfferId: 'object-cells',
        externalPlanId: 'standard',
        readOnly: true,
        refs: { applicationId, deployed: true },
      },
    });
    expect(await sandbox.adapter.readTruth(id, event!.truth!.refs)).toMatchObject({ externalSubscriptionId: id, state: 'active' });
    await expect(sandbox.adapter.acknowledge(event!.truth!, { tenantId: 't' })).resolves.toBeUndefined();
    // The API of subscriptions does not know it: it is not even asked [AZ-83].
    const plansAsked = async (): Promise<number> =>
      (await sandbox.control<{ items: unknown[] }>('GET', '/calls?marketplace=azure&operation=plans&limit=2000')).items.length;
    const askedBefore = await plansAsked();
    expect(await sandbox.adapter.readPrivateOffers(id, 'standard', event!.truth!.refs)).toEqual([]);
    expect(await plansAsked()).toBe(askedBefore);
    await act(id, 'update', { planId: 'premium' });
    expect(await read(await told(applicationId, 'PATCH', 'Succeeded'), event!.truth!.refs)).toMatchObject([
      { kind: 'changed', truth: { externalPlanId: 'premium', state: 'active' } },
    ]);
  });

  it('that fail to deploy are told of and not in force; a later failure ends nothing [AZ-85]', async () => {
    const { id, applicationId } = await deploy({ outcome: 'failed' });
    const [failed] = await read(await told(applicationId, 'PUT', 'Failed'));
    expect(failed).toMatchObject({ kind: 'noted', truth: { state: 'pending_fulfillment' } });
    expect(failed!.note).toContain('DeploymentFailed');
    await act(id, 'redeploy');
    const [deployed] = await read(await told(applicationId, 'PUT', 'Succeeded'), failed!.truth!.refs);
    expect(deployed).toMatchObject({ kind: 'purchased', truth: { state: 'active' } });
    await act(id, 'fail-delete');
    const refs = deployed!.truth!.refs;
    expect(await read(await told(applicationId, 'DELETE', 'Deleting'), refs)).toMatchObject([
      { kind: 'noted', truth: { state: 'active' } },
    ]);
    expect(await read(await told(applicationId, 'DELETE', 'Failed'), refs)).toMatchObject([{ kind: 'noted', truth: { state: 'active' } }]);
  });

  it('end when they are deleted and gone, and not because a message says so [AZ-86]', async () => {
    const { id, applicationId } = await deploy();
    const [event] = await read(await told(applicationId, 'PUT', 'Succeeded'));
    const refs = event!.truth!.refs;
    const good = await told(applicationId, 'PUT', 'Succeeded');
    const lie = { ...good.body, eventType: 'DELETE', provisioningState: 'Deleted' };
    const lying = {
      ...good,
      request: { ...good.request, body: JSON.stringify(lie) },
      stored: { ...good.stored, body: JSON.stringify(lie) },
    };
    await expect(read(lying, refs)).rejects.toBeInstanceOf(MarketplaceBusy);
    expect(await read(lying, refs, 120_000)).toMatchObject([{ kind: 'noted', truth: { state: 'active' } }]);
    await act(id, 'delete');
    expect(await read(await told(applicationId, 'DELETE', 'Deleted'), refs)).toMatchObject([
      { kind: 'ended', externalSubscriptionId: id, truth: null, deletedThere: true },
    ]);
    expect(await sandbox.adapter.readTruth(id, refs)).toBeNull();
    // Nothing is kept of one that we never knew.
    expect(await read(await told(applicationId, 'DELETE', 'Deleted'))).toEqual([]);
  });

  it('cannot be moved to another application by who knows the secret, nor lead us elsewhere [AZ-86]', async () => {
    const [mine, other] = [await deploy(), await deploy()];
    const captured = await told(mine.applicationId, 'PUT', 'Succeeded');
    const [event] = await read(captured);
    const changed = (body: object): Captured => ({
      ...captured,
      request: { ...captured.request, body: JSON.stringify(body) },
      stored: { ...captured.stored, body: JSON.stringify(body) },
    });
    const swapped = changed({ ...captured.body, applicationId: other.applicationId, eventType: 'DELETE', provisioningState: 'Deleted' });
    expect(await read(swapped, event!.truth!.refs, 120_000)).toMatchObject([
      { kind: 'noted', truth: { state: 'active', refs: { applicationId: mine.applicationId } } },
    ]);
    // Another's usage id under an address that is real.
    const foreign = changed({ ...captured.body, billingDetails: { resourceUsageId: randomUUID() } });
    expect(await read(foreign, null, 120_000)).toMatchObject([{ kind: 'noted', truth: null }]);
    const before = await sandbox.control<{ items: unknown[] }>('GET', '/calls?marketplace=azure&operation=getApplication&limit=2000');
    for (const applicationId of [
      '/subscriptions/../../login',
      `${mine.applicationId}/../../x`,
      'https://elsewhere.example/',
      '//elsewhere.example',
    ])
      expect(await read(changed({ ...captured.body, applicationId }), null, 120_000)).toMatchObject([{ kind: 'noted', truth: null }]);
    const after = await sandbox.control<{ items: unknown[] }>('GET', '/calls?marketplace=azure&operation=getApplication&limit=2000');
    expect(after.items).toHaveLength(before.items.length);
  });

  it('of a service catalog are left alone', async () => {
    const captured = await told((await deploy()).applicationId, 'PUT', 'Succeeded');
    const { plan: _plan, billingDetails: _details, ...rest } = captured.body;
    const body = JSON.stringify({ ...rest, applicationDefinitionId: '/subscriptions/x' });
    expect(await read({ ...captured, request: { ...captured.request, body }, stored: { ...captured.stored, body } })).toEqual([]);
  });

  it('are told with the secret of the address only: wrong, missing, none set, and no help to a webhook [AZ-87]', async () => {
    const { request } = await told((await deploy()).applicationId, 'PUT', 'Succeeded');
    const codeOf = async (query: Record<string, string>, adapter = sandbox.adapter): Promise<unknown> =>
      ((await adapter.verifyInbound({ ...request, query })) as { code?: string }).code;
    expect(await codeOf(request.query)).toBeUndefined();
    expect(await codeOf({ sig: 'sandbox-managed-app-sih' })).toBe('azure.signature_wrong');
    expect(await codeOf({ sig: '' })).toBe('azure.signature_wrong');
    expect(await codeOf({})).toBe('azure.token_missing');
    expect(await codeOf({ sig: '' }, sandbox.adapterWith({ managedAppSignature: null }))).toBe('azure.managed_apps_off');
    const bad = await sandbox.adapter.verifyInbound({ ...request, body: '{"eventType":"PUT"}' });
    expect(bad).toMatchObject({ ok: false, status: 400, code: 'azure.notification_incomplete' });
    expect(await sandbox.adapter.verifyInbound({ ...request, body: 'x' })).toMatchObject({ ok: false, code: 'azure.body_not_object' });
  });

  it('take usage by their usage id [AZ-88]', async () => {
    const { id } = await deploy();
    const hour = new Date(Math.floor(sandbox.clock.now().getTime() / 3_600_000) * 3_600_000);
    const item = sandbox.adapter.buildUsageItem({
      itemId: randomUUID(),
      externalSubscriptionId: id,
      externalPlanId: 'standard',
      dimension: 'gib_hours_stored',
      hourStart: hour,
      startsAt: hour,
      endsAt: sandbox.clock.now(),
      quantity: '2.5',
      refs: {},
    });
    expect(await sandbox.adapter.submitUsage([item])).toMatchObject([{ outcome: 'accepted', acceptedQuantity: '2.5' }]);
    expect((await sandbox.billed(id)).items).toMatchObject([{ dimension: 'gib_hours_stored', quantity: '2.5' }]);
  });
});
