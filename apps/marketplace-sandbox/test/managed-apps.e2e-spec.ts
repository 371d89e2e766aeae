import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { neverStrikes } from '../src/shared/fault-help.js';
import { call, CLIENT, eventually, type Running, startSandbox, TENANT } from './support/harness.js';
import { Receiver } from './support/receiver.js';

const ARM = 'https://management.azure.com';

describe('managed applications (contract azure §7)', () => {
  let sandbox: Running;
  const receiver = new Receiver();
  beforeAll(async () => {
    sandbox = await startSandbox();
    await sandbox.settings({ managedApps: { endpoint: `${await receiver.start()}/notify`, sig: 'a b+c' } });
  });
  afterAll(async () => {
    await sandbox.stop();
    await receiver.stop();
  });
  beforeEach(() => {
    receiver.received.length = 0;
    receiver.answering = () => ({ status: 200 });
  });

  const deploy = async (extra: object = {}): Promise<{ resourceUsageId: string; applicationId: string }> =>
    (await sandbox.control('/azure/managed-applications', { body: { offerId: 'object-cells', planId: 'standard', ...extra } })).json;
  const view = async (id: string): Promise<any> => (await sandbox.control(`/azure/managed-applications/${id}`)).json;
  const act = (id: string, action: string, body: object = {}) => sandbox.control(`/azure/managed-applications/${id}/${action}`, { body });
  const armToken = async (resource = ARM): Promise<string> =>
    (
      await sandbox.tokenForm(
        { grant_type: 'client_credentials', client_id: CLIENT, client_secret: 'right-secret', scope: `${resource}/.default` },
        TENANT,
      )
    ).json.access_token as string;
  const get = async (applicationId: string, token: string, version = '?api-version=2021-07-01') =>
    call(`${sandbox.url}/azure/arm${applicationId}${version}`, { headers: { authorization: `Bearer ${token}` } });

  it('are told of in order at the address with /resource and the secret appended, without a token', async () => {
    const { resourceUsageId, applicationId } = await deploy();
    await act(resourceUsageId, 'update', { planId: 'premium' });
    await act(resourceUsageId, 'delete');
    await eventually(() => receiver.received.length === 5);
    expect(receiver.received.map(({ path }) => path)).toEqual(receiver.received.map(() => '/notify/resource?sig=a%20b%2Bc'));
    expect(receiver.received[0]!.headers.authorization).toBeUndefined();
    const bodies = receiver.received.map(({ body }) => body as Record<string, unknown>);
    expect(bodies.map((b) => `${String(b['eventType'])} ${String(b['provisioningState'])}`)).toEqual([
      'PUT Accepted',
      'PUT Succeeded',
      'PATCH Succeeded',
      'DELETE Deleting',
      'DELETE Deleted',
    ]);
    expect(bodies[1]).toMatchObject({
      applicationId,
      billingDetails: { resourceUsageId },
      plan: { product: 'object-cells', name: 'standard' },
    });
  });

  it('that fail carry the error', async () => {
    const { applicationId } = await deploy({ outcome: 'failed' });
    await eventually(() => receiver.received.length === 2);
    expect(receiver.received[1]!.body).toMatchObject({
      applicationId,
      provisioningState: 'Failed',
      error: { code: 'DeploymentFailed' },
    });
  });

  it.each([
    [503, 'pending'],
    [429, 'pending'],
    [400, 'dropped'],
    [200, 'delivered'],
  ])('are answered %i: %s', async (status, state) => {
    receiver.answering = () => ({ status });
    const { resourceUsageId } = await deploy();
    const [first] = await eventually(async () => {
      const { notifications } = await view(resourceUsageId);
      return notifications[0].attempts.length > 0 && notifications;
    });
    expect(first.state).toBe(state);
  });

  it('are told again for ten hours, then no more', async () => {
    receiver.answering = () => ({ status: 503 });
    const { resourceUsageId } = await deploy();
    await sandbox.advance(9 * 3600, 3600);
    expect((await view(resourceUsageId)).notifications[0].state).toBe('pending');
    await sandbox.advance(2 * 3600, 3600);
    expect((await view(resourceUsageId)).notifications[0].state).toBe('failed');
  });

  it('may be lost, come twice, late, out of order or broken, as faults say (contract azure §7)', async () => {
    const fault = (kind: string, operation: string, more: object = {}) =>
      sandbox.control('/faults', { body: { marketplace: 'azure', operation, kind, ...more } });
    const came = (): string[] =>
      receiver.received.map(({ body }) => {
        const { eventType, provisioningState } = body as Record<string, unknown>;
        return `${String(eventType)} ${String(provisioningState)}`;
      });
    await fault('lose_notification', 'PUT Accepted');
    await fault('duplicate_notification', 'PUT Succeeded');
    const { resourceUsageId } = await deploy();
    await eventually(() => came().length === 2);
    expect(came()).toEqual(['PUT Succeeded', 'PUT Succeeded']);
    expect(receiver.received[0]!.body).toEqual(receiver.received[1]!.body);
    expect((await view(resourceUsageId)).notifications.map((one: { state: string }) => one.state)).toEqual(['lost', 'delivered']);

    await fault('reorder_notification', 'DELETE Deleting');
    await act(resourceUsageId, 'delete');
    await eventually(() => came().length === 4);
    expect(came().slice(2)).toEqual(['DELETE Deleted', 'DELETE Deleting']);

    const late = await deploy();
    await eventually(() => came().length === 6);
    await fault('delay_notification', 'PATCH Succeeded', { delayMs: 1_800_000 });
    await act(late.resourceUsageId, 'update', { planId: 'premium' });
    expect((await view(late.resourceUsageId)).notifications[2]).toMatchObject({ state: 'pending', attempts: [] });
    await sandbox.advance(1_801, 60);
    expect(came().slice(6)).toEqual(['PATCH Succeeded']);

    receiver.answering = ({ body }) => ({ status: typeof body === 'object' && body !== null ? 200 : 503 });
    await fault('malformed_notification', 'PATCH Succeeded', { shape: 'truncated' });
    await act(late.resourceUsageId, 'update');
    await sandbox.advance(10, 1);
    const { attempts, state } = (await view(late.resourceUsageId)).notifications[3];
    expect([attempts.map((one: { status: number }) => one.status), state]).toEqual([[503, 200], 'delivered']);

    expect(neverStrikes('azure', 'PUT Succeeded', 'expired_token_notification')).toContain('carries no token');
  });

  it('are shown by ARM to the offer’s application with a token for ARM, and no more once deleted', async () => {
    const { resourceUsageId, applicationId } = await deploy();
    const token = await armToken();
    expect(await get(applicationId, token)).toMatchObject({
      status: 200,
      json: {
        id: applicationId,
        plan: { name: 'standard' },
        properties: { provisioningState: 'Succeeded', billingDetails: { resourceUsageId } },
      },
    });
    expect((await get(applicationId, token, '')).json.error.code).toBe('MissingApiVersionParameter');
    expect((await get(applicationId, await sandbox.token())).status).toBe(401);
    await act(resourceUsageId, 'delete');
    expect(await get(applicationId, token)).toMatchObject({ status: 404, json: { error: { code: 'ResourceNotFound' } } });
    expect((await act(resourceUsageId, 'update')).status).toBe(409);
  });

  it('take usage by their usage id while they stand (contract azure §6)', async () => {
    const { resourceUsageId } = await deploy();
    const hour = Math.floor((await sandbox.now()) / 3_600_000) * 3_600_000;
    expect((await sandbox.api('/usageEvent', { body: sandbox.usage(resourceUsageId, hour) })).json).toMatchObject({ status: 'Accepted' });
    const failed = await deploy({ outcome: 'failed' });
    expect((await sandbox.api('/usageEvent', { body: sandbox.usage(failed.resourceUsageId, hour) })).status).toBe(400);
  });
});
