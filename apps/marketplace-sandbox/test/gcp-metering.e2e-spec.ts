import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GcpWire, METRIC, SERVICE, startGcp } from './support/gcp-harness.js';
import { call, HOUR } from './support/harness.js';

let gcp: GcpWire & { stop(): Promise<void> };
beforeAll(async () => {
  gcp = await startGcp();
});
afterAll(() => gcp.stop());

/** Active for three hours. */
async function seasoned(): Promise<{ entitlementId: string; consumerId: string }> {
  const bought = await gcp.active();
  await gcp.running.advance(3 * 3600);
  return bought;
}
const valued = (metricName: string, value: object): object => ({ metricValueSets: [{ metricName, metricValues: [value] }] });

describe('Service Control (contract gcp §4)', () => {
  it('takes a checked report and bills its exact digits under its operationId (§4)', async () => {
    const { entitlementId, consumerId } = await seasoned();
    const operation = gcp.operation(consumerId, ...(await gcp.lastHour()), valued(METRIC, { int64Value: '9007199254740993' }));
    expect((await gcp.check(operation)).json).toMatchObject({ operationId: operation.operationId, serviceConfigId: expect.any(String) });
    const answer = await gcp.service('report', { operations: [operation] });
    expect([answer.status, answer.json.reportErrors]).toEqual([200, undefined]);
    expect(await gcp.billed(entitlementId)).toEqual([
      {
        marketplace: 'gcp',
        externalId: entitlementId,
        planId: 'standard',
        dimension: METRIC,
        hour: operation.startTime,
        quantity: '9007199254740993',
        receipt: operation.operationId,
        acceptedAt: expect.any(String),
      },
    ]);
  });

  it('needs a check first, of the operation or of the consumer within 60 s (§4)', async () => {
    const { entitlementId, consumerId } = await seasoned();
    const operation = gcp.operation(consumerId, ...(await gcp.lastHour()));
    const unchecked = await gcp.service('report', { operations: [operation] });
    expect([unchecked.status, unchecked.json.reportErrors[0].status.code]).toEqual([200, 9]);
    expect(await gcp.billed(entitlementId)).toEqual([]);
    await gcp.check(gcp.operation(consumerId, ...(await gcp.lastHour())));
    expect((await gcp.service('report', { operations: [operation] })).json.reportErrors).toBeUndefined();
  });

  it('refuses userLabels in check and takes them in report (§4, userLabels)', async () => {
    const { consumerId } = await seasoned();
    const [start, end] = await gcp.lastHour();
    const userLabels = { 'cloudmarketplace.googleapis.com/resource_name': 'cell-1' };
    const operation = gcp.operation(consumerId, start, end, { userLabels });
    const { metricValueSets: _, endTime: __, ...labelled } = operation;
    expect((await gcp.service('check', { operation: labelled })).status).toBe(400);
    expect((await gcp.checkAndReport(operation)).json.reportErrors).toBeUndefined();
  });

  it('leaves the last operations of a report as UNAVAILABLE when told to, and takes them afterwards (fault unprocessed)', async () => {
    const { entitlementId, consumerId } = await seasoned();
    const operation = gcp.operation(consumerId, ...(await gcp.lastHour()));
    await gcp.check(operation);
    await gcp.running.control('/faults', { body: { marketplace: 'gcp', operation: 'report', kind: 'unprocessed' } });
    const answer = await gcp.service('report', { operations: [operation] });
    expect([answer.status, answer.json.reportErrors[0]]).toMatchObject([200, { operationId: operation.operationId, status: { code: 14 } }]);
    expect(await gcp.billed(entitlementId)).toEqual([]);
    expect((await gcp.service('report', { operations: [operation] })).json.reportErrors).toBeUndefined();
  });

  it('refuses the whole request for a value of the wrong type, in the words of the real service (§4; §7.6)', async () => {
    const { entitlementId, consumerId } = await seasoned();
    const [start, end] = await gcp.lastHour();
    const good = gcp.operation(consumerId, start, end);
    await gcp.check(good);
    const wrong = gcp.operation(consumerId, start, end, valued(`${SERVICE}/standard_mib_egress`, { doubleValue: 1.5 }));
    const answer = await gcp.service('report', { operations: [good, wrong] });
    expect([answer.status, answer.json.error.message]).toEqual([
      400,
      "Inconsistent metric value type for 'standard_mib_egress'. Expecting int64, got double",
    ]);
    expect(await gcp.billed(entitlementId)).toEqual([]);
    for (const bad of [
      valued(METRIC, { int64Value: 150 }),
      valued(METRIC, { int64Value: '-1' }),
      valued(`${SERVICE}/standard_unheard_of`, { int64Value: '1' }),
      valued('standard_mib_hours_stored', { int64Value: '1' }),
      { metricValueSets: [...good.metricValueSets, ...good.metricValueSets] },
      { operationName: undefined },
      { endTime: good.startTime },
      { surprise: true },
    ]) {
      const refused = await gcp.service('report', { operations: [{ ...good, ...bad }] });
      expect([JSON.stringify(bad), refused.status, refused.json.error.status]).toEqual([JSON.stringify(bad), 400, 'INVALID_ARGUMENT']);
    }
  });

  it('keeps the type per metric of a plan: DOUBLE takes a number with its digits (§4)', async () => {
    const before = (await gcp.running.control('/settings')).json.gcp.plans;
    const plans = structuredClone(before);
    plans[0].metrics[1].type = 'DOUBLE';
    await gcp.settings({ plans });
    const { entitlementId, consumerId } = await seasoned();
    const [start, end] = await gcp.lastHour();
    const id = `${SERVICE}/standard_mib_egress`;
    const wrong = await gcp.checkAndReport(gcp.operation(consumerId, start, end, valued(id, { int64Value: '1' })));
    expect(wrong.json.error.message).toContain('Expecting double, got int64');
    await gcp.checkAndReport(gcp.operation(consumerId, start, end, valued(id, { doubleValue: 0.1875 })));
    expect((await gcp.billed(entitlementId))[0].quantity).toBe('0.1875');
    await gcp.settings({ plans: before });
  });

  it('tells per operation, in an answer of 200, what it did not take (§4, HTTP 200 is not acceptance; §7.7)', async () => {
    const { entitlementId, consumerId } = await seasoned();
    const [start, end] = await gcp.lastHour();
    const good = gcp.operation(consumerId, start, end);
    const stranger = gcp.operation('project_number:1', start, end);
    const otherPlan = gcp.operation(consumerId, start, end, valued(`${SERVICE}/premium_mib_egress`, { int64Value: '1' }));
    const tooLong = gcp.operation(consumerId, start - 2 * HOUR, start - 1);
    const future = gcp.operation(consumerId, end + HOUR, end + 2 * HOUR);
    for (const one of [good, otherPlan, tooLong, future]) await gcp.check(one);
    const answer = await gcp.service('report', { operations: [stranger, good, otherPlan, tooLong, future] });
    expect(answer.status).toBe(200);
    expect(answer.json.reportErrors.map((one: any) => [one.operationId, one.status.code])).toEqual([
      [stranger.operationId, 5],
      [otherPlan.operationId, 3],
      [tooLong.operationId, 3],
      [future.operationId, 3],
    ]);
    expect(await gcp.billed(entitlementId)).toHaveLength(1);
    await gcp.act(entitlementId, 'report-errors', { times: 1 });
    const next = gcp.operation(consumerId, start - HOUR, end - HOUR);
    expect((await gcp.checkAndReport(next)).json.reportErrors[0].status.code).toBe(13);
    expect((await gcp.checkAndReport(next)).json.reportErrors).toBeUndefined();
  });

  it('bills an identical operation once; other bytes under its id are an error (§4, Dedupe)', async () => {
    const { entitlementId, consumerId } = await seasoned();
    const operation = gcp.operation(consumerId, ...(await gcp.lastHour()));
    await gcp.checkAndReport(operation);
    expect((await gcp.service('report', { operations: [operation] })).json.reportErrors).toBeUndefined();
    const other = { ...operation, ...valued(METRIC, { int64Value: '151' }) };
    expect((await gcp.service('report', { operations: [other] })).json.reportErrors[0].status.code).toBe(6);
    expect(await gcp.billed(entitlementId)).toHaveLength(1);
    await gcp.settings({ dedupe: 'summed' });
    await gcp.service('report', { operations: [operation] });
    await gcp.settings({ dedupe: 'trusted' });
    expect((await gcp.billed(entitlementId)).map((one) => one.quantity)).toEqual(['150', '150']);
  });

  it('refuses a window that overlaps one that it has, under another id (§4, deltas)', async () => {
    const { entitlementId, consumerId } = await seasoned();
    const [start, end] = await gcp.lastHour();
    await gcp.checkAndReport(gcp.operation(consumerId, start, end));
    const again = await gcp.checkAndReport(gcp.operation(consumerId, start, end));
    expect(again.json.reportErrors[0].status.message).toContain('overlaps');
    expect(await gcp.billed(entitlementId)).toHaveLength(1);
  });

  it('takes usage from before a cancellation for one hour more, without a check (§4, Deadlines)', async () => {
    const { entitlementId, consumerId } = await seasoned();
    await gcp.act(entitlementId, 'cancel-now');
    const at = Date.parse((await gcp.get(entitlementId)).updateTime);
    const checked = await gcp.check(gcp.operation(consumerId, at - HOUR, at));
    expect([checked.status, checked.json.checkErrors[0].code]).toEqual([200, 'SERVICE_NOT_ACTIVATED']);
    const within = gcp.operation(consumerId, at - HOUR / 2, at - 1000);
    const across = gcp.operation(consumerId, at - 1000, at + 30_000);
    const answer = await gcp.service('report', { operations: [within, across] });
    expect(answer.json.reportErrors.map((one: any) => [one.operationId, one.status.code])).toEqual([[across.operationId, 5]]);
    await gcp.running.advance(3700);
    const late = await gcp.service('report', { operations: [gcp.operation(consumerId, at - HOUR, at - HOUR / 2)] });
    expect(late.json.reportErrors[0].status.code).toBe(5);
    expect(await gcp.billed(entitlementId)).toHaveLength(1);
  });

  it('says why a consumer may not be served: not active, billing disabled, scripted (§4, checkErrors)', async () => {
    const codes = async (consumerId: string): Promise<string | undefined> =>
      (await gcp.check(gcp.operation(consumerId, ...(await gcp.lastHour())))).json.checkErrors?.[0].code;
    await gcp.settings({ usageReportingIdFrom: 'requested' });
    const asked = await gcp.buy();
    await gcp.settings({ usageReportingIdFrom: 'active' });
    expect(await codes((await gcp.get(asked.entitlementId)).usageReportingId)).toBe('SERVICE_NOT_ACTIVATED');
    const { entitlementId, consumerId } = await seasoned();
    await gcp.act(entitlementId, 'billing-disable');
    expect(await codes(consumerId)).toBe('BILLING_DISABLED');
    await gcp.running.advance(2 * 3600);
    const refused = await gcp.service('report', { operations: [gcp.operation(consumerId, ...(await gcp.lastHour()))] });
    expect(refused.json.reportErrors[0].status.code).toBe(7);
    await gcp.act(entitlementId, 'billing-enable');
    expect(await codes(consumerId)).toBeUndefined();
    await gcp.act(entitlementId, 'check-error', { code: 'SERVICE_STATUS_UNAVAILABLE' });
    expect(await codes(consumerId)).toBe('SERVICE_STATUS_UNAVAILABLE');
  });

  it('keeps the effect of a report whose answer was lost, and answers for its own service only (§6)', async () => {
    const { entitlementId, consumerId } = await seasoned();
    const operation = gcp.operation(consumerId, ...(await gcp.lastHour()));
    await gcp.check(operation);
    await gcp.running.control('/faults', { body: { marketplace: 'gcp', operation: 'report', kind: 'drop_after' } });
    await expect(gcp.service('report', { operations: [operation] })).rejects.toThrow();
    expect((await gcp.service('report', { operations: [operation] })).json.reportErrors).toBeUndefined();
    expect(await gcp.billed(entitlementId)).toHaveLength(1);
    const elsewhere = await call(`${gcp.running.url}/gcp/servicecontrol/v1/services/other.example:report`, {
      body: { operations: [operation] },
    });
    expect([elsewhere.status, elsewhere.json.error.status]).toEqual([404, 'NOT_FOUND']);
  });

  it('publishes the live configuration with the type of each metric, to who may read it (§4, metric types)', async () => {
    const get = (service: string) => call(`${gcp.running.url}/gcp/servicemanagement/v1/services/${service}/config?view=BASIC`);
    const answer = await get(SERVICE);
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ name: SERVICE, id: expect.any(String) });
    const metrics = answer.json.metrics as { name: string; metricKind: string; valueType: string }[];
    expect(metrics.find((metric) => metric.name === METRIC)).toMatchObject({ metricKind: 'DELTA', valueType: 'INT64' });
    expect(new Set(metrics.map((metric) => metric.name)).size).toBe(metrics.length);
    expect((await get('another.endpoints.example.cloud.goog')).status).toBe(404);
    await gcp.settings({ configReadable: false });
    expect(await get(SERVICE)).toMatchObject({ status: 403, json: { error: { status: 'PERMISSION_DENIED' } } });
    await gcp.settings({ configReadable: true });
  });

  it('lets a test change a billed quantity, as a marketplace fault would', async () => {
    const { entitlementId, consumerId } = await seasoned();
    const [start, end] = await gcp.lastHour();
    await gcp.checkAndReport(gcp.operation(consumerId, start, end));
    const change = { externalId: entitlementId, dimension: METRIC, hour: new Date(start).toISOString(), by: '-1' };
    expect((await gcp.control('/billed/adjust', change)).json.quantity).toBe('149');
    expect((await gcp.billed(entitlementId))[0].quantity).toBe('149');
  });
});
