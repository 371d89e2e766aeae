import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FAULT_HELP, neverStrikes, OPERATIONS } from '../src/shared/fault-help.js';
import { type Answer, call, HOUR, type Running, startSandbox } from './support/harness.js';

let sandbox: Running;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterEach(() => sandbox.control('/faults', { method: 'DELETE' }));
afterAll(() => sandbox.stop());

const form = (path: string, fields: Record<string, string> = {}): Promise<Answer> =>
  call(`${sandbox.url}${path}`, {
    text: new URLSearchParams(fields).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
const page = async (): Promise<string> => (await call(`${sandbox.url}/faults`)).text;
const items = async (): Promise<any[]> => (await sandbox.control('/faults')).json.items;

describe('the page of faults', () => {
  it('says that nothing is armed, lists and explains every kind, and is reached from the shop', async () => {
    const text = await page();
    expect(text).toContain('No fault is armed');
    for (const [kind, { does }] of Object.entries(FAULT_HELP)) {
      expect(text).toContain(`<option value="${kind}"`);
      expect(text).toContain(does.replaceAll('"', '&quot;').replaceAll("'", '&#39;'));
    }
    expect((await call(`${sandbox.url}/`)).text).toContain('href="/faults"');
    // Every field has a label; help texts belong to their fields.
    const ids = [...text.matchAll(/<(?:input|select) id="(\w+)"/g)].map((match) => match[1]!);
    for (const id of ids) expect(text).toContain(`<label for="${id}"`);
    for (const [, help] of text.matchAll(/aria-describedby="([\w-]+-help)"/g)) expect(text).toContain(`id="${help}"`);
    expect(text).not.toContain('<script');
  });

  it('arms with a share and a seed, shows how often it struck, and takes it back', async () => {
    const sent = await form('/storefront/faults', {
      marketplace: 'azure',
      kind: 'status',
      operation: 'usageEvent',
      rate: '0.5',
      seed: 'tide',
      status: '503',
    });
    expect(sent.status, sent.text).toBe(200);
    expect(await items()).toMatchObject([{ kind: 'status', rate: 0.5, seed: 'tide', status: 503, remaining: null }]);
    const id = await sandbox.subscribed();
    const item = sandbox.usage(id, (await sandbox.now()) - HOUR);
    const statuses: number[] = [];
    for (let call = 0; call < 8; call += 1) statuses.push((await sandbox.api('/usageEvent', { body: item })).status);
    const struck = statuses.filter((one) => one === 503).length;
    expect(struck).toBeGreaterThan(0);
    expect(struck).toBeLessThan(8);
    const text = await page();
    expect(text).toContain(`${struck} of 8, without end`);
    expect(text).toContain('seed tide');
    expect(text).toContain(`usageEvent no. ${statuses.indexOf(503) + 1}`);
    expect((await call(`${sandbox.url}/`)).text).toContain('faults (1 armed)');
    const [{ id: fault }] = await items();
    await form(`/storefront/faults/${fault}/remove`);
    expect(await items()).toEqual([]);
    expect(await page()).toContain('No fault is armed');
  });

  it('remembers what is spent, and clears all of it', async () => {
    await form('/storefront/faults', { marketplace: 'azure', kind: 'throttle', operation: 'list' });
    expect((await sandbox.api('/saas/subscriptions')).status).toBe(429);
    expect((await sandbox.control('/faults')).json).toMatchObject({ items: [], spent: [{ kind: 'throttle', struck: 1 }] });
    expect(await page()).toContain('list no. 1');
    await form('/storefront/faults', { marketplace: 'gcp', kind: 'hold_event' });
    await form('/storefront/faults/clear');
    expect((await sandbox.control('/faults')).json).toMatchObject({ items: [], spent: [] });
  });

  it.each([
    [{ marketplace: 'azure', kind: 'status', operation: 'usageEvnt' }, 'azure has no usageEvnt'],
    [{ marketplace: 'azure', kind: 'lose_notification', operation: 'usageEvent' }, 'usageEvent is none of them'],
    [{ marketplace: 'aws', kind: 'hold_event' }, 'hold_event strikes at gcp only'],
    [{ marketplace: 'azure', kind: 'status', rate: '2' }, 'rate'],
    [{ marketplace: 'azure', kind: 'status', times: 'often' }, 'times'],
  ])('refuses %j with a reason, and keeps what was typed', async (fields, reason) => {
    const answer = await form('/storefront/faults', { ...fields, seed: 'kept <seed>' });
    expect(answer.status).toBe(400);
    expect(/role="alert"[^>]*>([^<]+)/.exec(answer.text)?.[1]).toContain(reason);
    expect(answer.text).toContain('value="kept &lt;seed&gt;"');
    expect(answer.text).toMatch(new RegExp(`<option value="${fields.kind}" selected`));
    expect(await items()).toEqual([]);
  });

  it('knows every operation that the routes have, by the same name', async () => {
    for (const [marketplace, { calls, notifications }] of Object.entries(OPERATIONS)) {
      for (const operation of calls) expect(neverStrikes(marketplace, operation, 'status')).toBeUndefined();
      for (const operation of notifications) expect(neverStrikes(marketplace, operation, 'lose_notification')).toBeUndefined();
    }
    await sandbox.api('/saas/subscriptions');
    await sandbox.api('/usageEvents?usageStartDate=2026-01-01');
    const seen = (await sandbox.control('/calls?limit=50')).json.items as { marketplace: string; operation: string }[];
    expect(seen.length).toBeGreaterThan(2);
    for (const { marketplace, operation } of seen) expect(neverStrikes(marketplace, operation, 'status'), operation).toBeUndefined();
  });
});
