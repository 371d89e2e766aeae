import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request } from 'node:http';
import { call, HOUR, type Running, startSandbox } from './support/harness.js';

let sandbox: Running;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterAll(() => sandbox.stop());

function form(path: string, fields: Record<string, string>, headers: Record<string, string> = {}): ReturnType<typeof call> {
  return call(`${sandbox.url}${path}`, {
    text: new URLSearchParams(fields).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
  });
}
const home = async (): Promise<string> => (await call(`${sandbox.url}/`)).text;

describe('the storefront', () => {
  it('sells a plan with a form and leads to the landing page with a token that resolves', async () => {
    const page = await form('/storefront/purchases', {
      offerId: 'object-cells',
      planId: 'premium',
      buyer: '0',
      subscriptionName: 'Bought by hand',
    });
    expect(page.status).toBe(200);
    const link = /href="(http:[^"]+)"[^>]*>Configure account</.exec(page.text)?.[1] ?? '';
    const token = new URL(link.replaceAll('&amp;', '&')).searchParams.get('token') ?? '';
    const resolved = await sandbox.api('/saas/subscriptions/resolve', { method: 'POST', headers: { 'x-ms-marketplace-token': token } });
    expect(resolved.json).toMatchObject({ subscriptionName: 'Bought by hand', planId: 'premium' });
    expect(await home()).toContain('Bought by hand');
  });

  it('offers only the actions that the state allows, and does them', async () => {
    const id = await sandbox.subscribed();
    expect(await home()).toContain(`/storefront/subscriptions/${id}/suspend`);
    expect((await form(`/storefront/subscriptions/${id}/suspend`, {})).text).toContain(`/storefront/subscriptions/${id}/reinstate`);
    expect((await sandbox.view(id)).status).toBe('Suspended');
    const again = await form(`/storefront/subscriptions/${id}/suspend`, {});
    expect([again.status, again.text.includes('this needs Subscribed')]).toEqual([409, true]);
  });

  it('sells in force at once, without renewal, as a preview, and a trial only where the plan has one', async () => {
    const bought = (fields: Record<string, string>): ReturnType<typeof call> =>
      form('/storefront/purchases', { offerId: 'object-cells', planId: 'standard', buyer: '0', ...fields });
    expect((await bought({ subscriptionName: 'All at once', autoActivate: 'yes', endsAfterTerm: 'yes', isTest: 'yes' })).status).toBe(200);
    const all = (await sandbox.control('/azure/subscriptions')).json.items as Record<string, unknown>[];
    const made = all.find((one) => one['name'] === 'All at once');
    expect(made).toMatchObject({ status: 'Subscribed', autoRenew: false, isTest: true, isFreeTrial: false });
    expect(await home()).toContain(', not renewed, preview');
    const trial = await bought({ isFreeTrial: 'yes' });
    expect([trial.status, trial.text.includes('has no free trial')]).toEqual([400, true]);
  });

  it('deploys a managed application, changes its plan and deletes it', async () => {
    expect(await home()).toContain('azure.managedApps.endpoint');
    await sandbox.settings({ managedApps: { endpoint: 'http://127.0.0.1:9/managed' } });
    expect((await form('/storefront/managed-applications', { plan: 'object-cells/standard' })).text).toContain('deploy again');
    const [app] = (await sandbox.control('/azure/managed-applications')).json.items as Record<string, string>[];
    const path = `/storefront/managed-applications/${app!['resourceUsageId']}`;
    await form(`${path}/update`, { planId: 'premium' });
    expect((await sandbox.control(`/azure/managed-applications/${app!['resourceUsageId']}`)).json.planId).toBe('premium');
    expect((await form(`${path}/delete`, {})).text).toContain('Deleted');
    expect((await form(`${path}/redeploy`, {})).status).toBe(409);
    expect((await form('/storefront/managed-applications', { plan: 'object-cells/nothing' })).status).toBe(400);
  });

  it('escapes what buyers type', async () => {
    await sandbox.purchase({ subscriptionName: `<script>alert("1")</script>'&` });
    const page = await home();
    expect(page).not.toContain('<script>');
    expect(page).toContain('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;');
  });

  it('shows billed lines, and moves the clock with a button', async () => {
    const id = await sandbox.subscribed();
    const usage = await sandbox.api('/usageEvent', { body: sandbox.usage(id, (await sandbox.now()) - HOUR, { quantity: 12.5 }) });
    expect(await home()).toContain(usage.json.usageEventId);
    const before = (await sandbox.control('/clock')).json.offsetMs;
    await form('/storefront/clock', { seconds: '3600' });
    expect((await sandbox.control('/clock')).json.offsetMs).toBe(before + HOUR);
    expect((await form('/storefront/clock', { seconds: '60' })).status).toBe(400);
  });
});

describe('the control surface', () => {
  it('is closed to pages of other sites and to other names for this host', async () => {
    const foreign = await form('/storefront/clock', { seconds: '3600' }, { origin: 'https://evil.example' });
    expect(foreign.status).toBe(403);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      request(`${sandbox.url}/sandbox/settings`, { headers: { host: 'rebound.example' } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(403);
  });

  it('merges settings and refuses bad ones: a # in the landing page, a host elsewhere', async () => {
    const put = await sandbox.settings({ landingUrl: 'http://127.0.0.1:4100/azure/landing?from=shop' });
    expect(put.json.azure).toMatchObject({ landingUrl: 'http://127.0.0.1:4100/azure/landing?from=shop', pageSize: 100 });
    const { landingUrl, token } = await sandbox.purchase();
    expect(landingUrl).toBe(`http://127.0.0.1:4100/azure/landing?from=shop&token=${encodeURIComponent(token)}`);
    expect((await sandbox.settings({ landingUrl: 'http://127.0.0.1:4100/#/landing' })).status).toBe(400);
    expect((await sandbox.settings({ webhookUrl: 'https://api.example/azure/webhook' })).status).toBe(400);
    expect((await sandbox.control('/settings')).json.azure.landingUrl).toContain('from=shop');
  });

  it('refuses purchases that the marketplace would not sell (contract azure §3, §6)', async () => {
    const refusal = async (extra: object): Promise<number> =>
      (await sandbox.control('/azure/purchases', { body: { offerId: 'object-cells', planId: 'standard', ...extra } })).status;
    expect(await refusal({ offerId: 'nothing' })).toBe(404);
    expect(await refusal({ planId: 'for-one' })).toBe(404);
    expect(await refusal({ quantity: 3 })).toBe(400);
    expect(await refusal({ isFreeTrial: true })).toBe(400);
    expect(await refusal({ offerId: 'seats', planId: 'team' })).toBe(400);
    expect(await refusal({ surprise: true })).toBe(400);
  });

  it('answers a health check', async () => {
    expect((await call(`${sandbox.url}/healthz`)).json).toEqual({ status: 'ok' });
  });
});
