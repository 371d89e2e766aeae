import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { House, until } from './support/house.js';

const house = new House();
let sub: Record<string, unknown>;
let record: Record<string, unknown>;
beforeAll(async () => {
  await house.start();
  const { sessionId, externalId } = await house.buy('Ledger works');
  await house.land(sessionId, 'Ledger Works');
  sub = await house.subscriptionOf(externalId);
  await house.shop('POST', '/clock/advance', { seconds: 4_500, stepSeconds: 1_500 });
  const mine = `/usage-records?subscriptionId=${String(sub['id'])}`;
  const found = await until(
    () => house.api('GET', mine),
    (a) => a.json.items!.some((r) => r['meter'] === 'gib_hours_provisioned' && r['submissionState'] === 'accepted'),
    60_000,
  );
  record = found.json.items!.find((r) => r['meter'] === 'gib_hours_provisioned' && r['submissionState'] === 'accepted')!;
}, 170_000);
afterAll(() => house.stop(), 30_000);

const berth = (...args: string[]): Promise<{ code: number; out: string; errors: string }> =>
  new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(projectRoot(), 'dist/apps/cli/src/main.js'), ...args],
      {
        env: { PATH: process.env['PATH'], BERTH_URL: house.controlPlane.url, BERTH_KEY: house.key },
        timeout: 60_000,
        maxBuffer: 64 * 1024 * 1024,
      },
      (error, out, errors) => resolve({ code: error ? Number(error.code ?? 1) : 0, out, errors }),
    );
  });
const operator = async (name: string): Promise<string> => String((await house.api('POST', '/operator-keys', { name })).json['key']);

describe('operator keys', () => {
  it('are made for named persons, listed without their secret, and revoked by others only', async () => {
    const made = await house.api('POST', '/operator-keys', { name: 'Grace Example' });
    expect(made.status).toBe(201);
    const key = String(made.json['key']);
    expect((await house.api('GET', '/findings?limit=1', undefined, key)).status).toBe(200);
    const list = await house.api('GET', '/operator-keys', undefined, key);
    expect(list.json.items!.map((k) => k['name'])).toEqual(['first operator', 'Grace Example']);
    expect(list.text).not.toContain(key);
    expect(await house.api('DELETE', `/operator-keys/${String(made.json['id'])}`, undefined, key)).toMatchObject({
      status: 409,
      json: { code: 'operator_key.own' },
    });
    expect((await house.api('DELETE', `/operator-keys/${String(made.json['id'])}`)).status).toBe(204);
    expect((await house.api('GET', '/findings', undefined, key)).status).toBe(401);
  });
});

describe('prices, findings and credits', () => {
  it('a price gives records an amount with its source; before it, none is said', async () => {
    const path = `/usage-records/${String(record['id'])}/explanation`;
    expect((await house.api('GET', path)).json['money']).toEqual({ amount: null, currency: null, price: 'price_unknown' });
    const price = {
      marketplace: 'azure',
      offerId: 'object-cells',
      planId: 'standard',
      dimension: 'gib_hours_provisioned',
      currency: 'USD',
      unitPrice: '0.04',
      effectiveFrom: '2026-01-01T00:00:00Z',
      source: 'listing of 2026-01',
    };
    expect((await house.api('POST', '/prices', { ...price, unitPrice: 'free' })).json['code']).toBe('request.invalid');
    expect((await house.api('POST', '/prices', price)).status).toBe(201);
    expect((await house.api('GET', '/prices?marketplace=azure')).json.items).toHaveLength(1);
    expect((await house.api('GET', path)).json['money']).toMatchObject({
      currency: 'USD',
      price: { unitPrice: '0.04', source: 'listing of 2026-01', provisional: false },
    });
  });

  it('a credit gives back part of a record once, and the record stays', async () => {
    const before = (await house.api('GET', `/usage-records/${String(record['id'])}`)).json;
    const wanted = { recordId: record['id'], units: record['quantity'], reason: 'a test run of ours' };
    const made = await house.api('POST', '/credits', wanted);
    expect(made.json).toMatchObject({ state: 'open', channel: 'azure_claim', recordId: record['id'] });
    expect(made.json['claimBy']).toBeTruthy();
    expect((await house.api('POST', '/credits', wanted)).json['code']).toBe('credit.more_than_accepted');
    const end = await house.api('POST', `/credits/${String(made.json['id'])}/outcome`, {
      state: 'completed',
      reference: 'claim 4711',
      amount: '0.01',
      currency: 'USD',
    });
    expect(end.json).toMatchObject({ state: 'completed', outcome: { amount: '0.01' } });
    expect((await house.api('GET', `/usage-records/${String(record['id'])}`)).json).toEqual(before);
  });

  it('a write-off waits for a second key, and says what to do where it is refused', async () => {
    const [second, same] = [await operator('Brigid Holm'), await operator('first operator')];
    const f = await house.clockAhead();
    const path = `/findings/${String(f['id'])}/settlement`;
    const wrong = ['resubmit', 'carry', 'claim_refund'].find((s) => !(f['maySettle'] as string[]).includes(s))!;
    expect(await house.api('POST', path, { settlement: wrong, reason: 'because' })).toMatchObject({
      status: 409,
      json: { code: 'finding.settlement_not_for_kind' },
    });
    expect((await house.api('POST', path, { settlement: 'write_off', reason: 'too small to follow' })).json).toMatchObject({
      state: 'proposed',
      settlement: null,
    });
    for (const key of [house.key, same])
      expect(await house.api('POST', `${path}/confirmation`, undefined, key)).toMatchObject({
        status: 403,
        json: { code: 'finding.second_person_needed' },
      });
    const settled = await house.api('POST', `${path}/confirmation`, undefined, second);
    expect(settled.json).toMatchObject({
      state: 'settled',
      proposal: null,
      settlement: { kind: 'write_off', reason: 'too small to follow' },
    });
    expect((settled.json['settlement'] as Record<string, unknown>)['actor']).not.toBe(
      (settled.json['settlement'] as Record<string, unknown>)['secondActor'],
    );
    expect((await house.api('POST', `${path}/confirmation`, undefined, second)).json['code']).toBe('finding.already_settled');
  });
});

describe('explain', () => {
  it('adds up by API, as a page without script, and on the command line; both ways', async () => {
    const x = (await house.api('GET', `/usage-records/${String(record['id'])}/explanation`)).json;
    const steps = x['arithmetic'] as { base: string; total: string }[];
    expect(steps.reduce((sum, s) => sum + BigInt(s.base), 0n)).toBe(0n);
    expect(x['calculatedAgain']).toEqual({ sameInputs: true, equal: true, differs: [] });
    const page = await house.call(
      'GET',
      `${house.controlPlane.url}/api/v1/usage-records/${String(record['id'])}/explanation?format=html`,
      undefined,
      {
        authorization: `Bearer ${house.key}`,
      },
    );
    expect(page.headers.get('content-type')).toContain('text/html');
    expect(page.text).toContain('calculated again: equal');
    expect(page.text).not.toMatch(/<script|https?:\/\//);
    const { receipt } = x['submission'] as { receipt: string };
    const said = await berth('explain', receipt);
    expect([said.code, said.errors]).toEqual([0, '']);
    expect(said.out).toContain(`${String(record['id'])}: ${String(record['quantity'])} GiB-hour`);
    expect(said.out).toContain('every stored number is the same');
    const [sample] = x['samples'] as { eventId: string }[];
    const event = await berth('explain', sample!.eventId, '--json');
    expect(JSON.parse(event.out)).toMatchObject({ found: 'event', events: [{ metric: 'provisioned_bytes' }] });
    expect((await berth('explain', 'nothing-of-ours')).errors).toContain('explain.nothing_found');
    const stranger = await house.api('GET', `/usage-records/${String(record['id'])}/explanation`, undefined, '');
    expect(stranger.status).toBe(401);
  });
});

describe('payouts, months and exports', () => {
  const month = (): string => String(record['hour']).slice(0, 7);

  it('a payout file is previewed, imported once and allocated by its purchase', async () => {
    const csv = `Payment,Asset,Month,Charged\nP-1,${String(sub['externalSubscriptionId'])},${month()},4.20\nP-1,stranger,${month()},0.80\n`;
    const body = {
      marketplace: 'azure',
      csv,
      mapping: { reference: 'Payment', purchase: 'Asset', month: 'Month', gross: 'Charged' },
      constants: { currency: 'USD' },
    };
    const preview = await house.api('POST', '/remittances/imports', body);
    expect(preview.json).toMatchObject({ stored: false, remittances: [{ id: null, outcome: 'new', gross: '5' }] });
    expect((await house.api('GET', '/remittances')).json.items).toEqual([]);
    const done = await house.api('POST', '/remittances/imports', { ...body, dryRun: false });
    const id = String((done.json['remittances'] as { id: string }[])[0]!.id);
    const one = await house.api('GET', `/remittances/${id}`);
    expect(one.json).toMatchObject({
      unallocated: '0.8',
      allocations: [
        { subscriptionId: sub['id'], amount: '4.2' },
        { kind: 'unallocated', amount: '0.8' },
      ],
    });
    expect((await house.api('POST', '/remittances/imports', { ...body, dryRun: false })).json).toMatchObject({
      remittances: [{ outcome: 'duplicate', id }],
    });
    const allocations = [{ month: month(), externalId: sub['externalSubscriptionId'], amount: '5.01' }];
    expect((await house.api('PUT', `/remittances/${id}/allocations`, { reason: 'as invoiced', allocations })).json['code']).toBe(
      'remittance.over_allocated',
    );
    allocations[0]!.amount = '5';
    expect((await house.api('PUT', `/remittances/${id}/allocations`, { reason: 'as invoiced', allocations })).json).toMatchObject({
      unallocated: '0',
      allocated: { version: 2 },
    });
  });

  it('a month says what was invoiced and that its units add up, by API, CSV and command line', async () => {
    const { json } = await house.api('GET', `/months/${month()}`);
    expect((json['money'] as Record<string, unknown>[]).find((r) => r['currency'] === 'USD')).toMatchObject({
      marketplace: 'azure',
      grain: 'purchase',
      externalId: sub['externalSubscriptionId'],
      invoiced: '5',
    });
    const units = json['units'] as { meter: string; difference: string }[];
    expect(units.map((u) => u.meter)).toContain('gib_hours_provisioned');
    expect(units.every((u) => u.difference === '0')).toBe(true);
    const said = await berth('close', month());
    expect([said.code, said.errors]).toEqual([0, '']);
    expect(said.out).toContain(`${month()}: ${String(json['state'])}`);
    const csv = await berth('close', month(), '--csv');
    expect(csv.out.split('\r\n')[0]).toBe('section,marketplace,name,subscriptionIds,planId,dimension,unit,currency,what,value,note');
    expect((await house.api('GET', '/months/2026-13')).json['code']).toBe('month.malformed');
  });

  // The record's month may be over by now: the clock went on by more than an hour.
  it('a running month is provisional, and refused where it must be final', async () => {
    const running = String((await house.shop('GET', '/clock')).json['now']).slice(0, 7);
    expect((await house.api('GET', `/months/${running}`)).json['state']).toBe('provisional');
    const final = await berth('close', running, '--final');
    expect([final.code, final.errors.includes('month.open')]).toEqual([1, true]);
  });

  it('lists leave as CSV with filters, and another tenant’s rows never do', async () => {
    const get = (path: string, key = house.key): ReturnType<House['api']> => house.api('GET', `/exports/${path}`, undefined, key);
    const records = await get(`usage-records.csv?subscriptionId=${String(sub['id'])}`);
    expect(records.headers.get('content-type')).toContain('text/csv');
    const rows = records.text.trimEnd().split('\r\n');
    expect(rows).toHaveLength((await house.list('usage-records')).filter((r) => r['subscriptionId'] === sub['id']).length + 1);
    expect(rows[0]!.startsWith('id,tenantId,subscriptionId')).toBe(true);
    expect((await get('usage-records.csv?from=2199-01-01T00:00:00Z')).text.trimEnd().split('\r\n')).toHaveLength(1);
    expect((await get('submissions.csv?state=accepted')).text).toContain(String(record['id']));
    expect((await get('findings.csv?kind=clock_skew')).text).toContain('clock_skew,settled');
    expect((await get('findings.csv?kind=nonsense')).status).toBe(400);
    const other = await house.buy('Another house');
    await house.land(other.sessionId, 'Another House');
    const stranger = await house.subscriptionOf(other.externalId);
    const { json } = await house.api('POST', `/tenants/${String(stranger['tenantId'])}/keys`, { name: 'theirs' });
    const theirs = await get('usage-records.csv', String(json['key']));
    expect(theirs.text).not.toContain(String(sub['tenantId']));
    expect((await get('findings.csv', String(json['key']))).status).toBe(403);
  });
});
