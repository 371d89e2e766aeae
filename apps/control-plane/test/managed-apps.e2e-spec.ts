import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until } from './support/house.js';

/** Contract azure §7, mapped to the same model: a deployment becomes a tenant, its deletion ends it. */
describe('a managed application', () => {
  const house = new House();
  beforeAll(async () => {
    await house.start();
  }, 60_000);
  afterAll(() => house.stop(), 30_000);

  const deploy = async (): Promise<string> =>
    String(
      (await house.shop('POST', '/azure/managed-applications', { offerId: 'object-cells', planId: 'standard' })).json['resourceUsageId'],
    );
  const act = (id: string, action: string, body: object = {}) => house.shop('POST', `/azure/managed-applications/${id}/${action}`, body);
  const reaches = (id: string, state: string) =>
    until(
      () => house.subscriptionOf(id),
      (s) => s?.['state'] === state,
    );

  it('is served without a landing, follows its plan, and ends when it is deleted [AZ-85]', async () => {
    const id = await deploy();
    await reaches(id, 'active');
    const served = await until(
      async () => ({ s: await house.subscriptionOf(id), placements: await house.list('placements') }),
      ({ s, placements }) => placements.some((p) => p['subscriptionId'] === s['id'] && p['phase'] === 'active'),
    );
    expect(served.s['tenantId']).toMatch(/^ten_/);
    await act(id, 'update', { planId: 'premium' });
    await until(
      () => house.subscriptionOf(id),
      (s) => s['planId'] === 'premium',
    );
    await act(id, 'delete');
    await until(
      () => house.subscriptionOf(id),
      (s) => ['closing', 'cancelled'].includes(String(s['state'])),
    );
  }, 60_000);

  it('is believed with the right secret only, which is kept nowhere [AZ-87]', async () => {
    const id = await deploy();
    await reaches(id, 'active');
    const [{ body } = { body: {} }] =
      ((await house.shop('GET', `/azure/managed-applications/${id}`)).json['notifications'] as { body: object }[]) ?? [];
    const forged = { ...body, eventType: 'DELETE', provisioningState: 'Deleted' };
    for (const sig of ['guess', '', null])
      expect((await house.shop('POST', '/azure/managed-notifications', { body: forged, sig })).json['status']).toBe(401);
    expect(await house.lastRefused()).toMatchObject({ source: 'azure.webhook' });
    // Known secret, false word: asked for and not borne out.
    const known = 'sandbox-managed-app-sig';
    expect((await house.shop('POST', '/azure/managed-notifications', { body: forged, sig: known })).json['status']).toBe(200);
    await house.shop('POST', '/clock/advance', { seconds: 300, stepSeconds: 100 });
    expect((await house.subscriptionOf(id))['state']).toBe('active');
    const events = await house.list('inbound-events');
    expect(events.filter((e) => e['source'] === 'azure.managed_app').length).toBeGreaterThanOrEqual(3);
    for (const path of ['inbound-events', 'refused-events']) expect(JSON.stringify(await house.list(path))).not.toContain(known);
  }, 60_000);
});
