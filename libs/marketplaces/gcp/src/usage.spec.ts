import { describe, expect, it } from 'vitest';
import type { UsageItemInput } from '#marketplaces/core';
import { billingMonthOf, monthCutOff } from './billing-month.js';
import { batchKey, buildUsageItem, deadlines } from './usage-item.js';
import { readCheckAnswer, readReportAnswer } from './usage-outcomes.js';

const SERVICE = 'object-cells.endpoints.harbor-storage-public.cloud.goog';
const METRIC = `${SERVICE}/standard_mib_hours_stored`;
const ID = 'b8273d26-21f1-4402-bedb-28f351ea9822';
const hourStart = new Date('2026-03-08T08:00:00Z');
const hourEnd = new Date('2026-03-08T09:00:00Z');
const refs = { usageReportingId: 'project_number:625643682501', state: 'ENTITLEMENT_ACTIVE', updateTime: '2026-03-01T00:00:00.123456Z' };
const input = (change: Partial<UsageItemInput> = {}): UsageItemInput => ({
  itemId: 'i1',
  externalSubscriptionId: ID,
  externalPlanId: 'standard',
  dimension: METRIC,
  hourStart,
  startsAt: hourStart,
  endsAt: hourEnd,
  quantity: '150',
  refs,
  ...change,
});
const build = (change: Partial<UsageItemInput> = {}, type: string | null = 'INT64') => buildUsageItem(input(change), SERVICE, () => type);
const body = (change: Partial<UsageItemInput> = {}): Record<string, unknown> => JSON.parse(build(change).body) as Record<string, unknown>;

describe('an operation', () => {
  it('reports one metric over its true interval [GC-44]', () => {
    const item = build({ startsAt: new Date('2026-03-08T08:12:30.5Z'), endsAt: new Date('2026-03-08T08:40:00Z') });
    expect(JSON.parse(item.body)).toEqual({
      operationId: item.wireKey,
      operationName: 'hourly-usage',
      consumerId: 'project_number:625643682501',
      startTime: '2026-03-08T08:12:30.500Z',
      endTime: '2026-03-08T08:40:00.000Z',
      metricValueSets: [{ metricName: METRIC, metricValues: [{ int64Value: '150' }] }],
    });
    expect(item.wireKey).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5/);
  });

  it('of a record that is split is one operation for each part, with user labels and an id of its own (contract gcp §4)', () => {
    const parts = [
      { labels: { 'cloudmarketplace.googleapis.com/resource_name': 'cluster-7' }, quantity: '100' },
      { labels: { 'cloudmarketplace.googleapis.com/resource_name': 'other' }, quantity: '50' },
    ];
    const item = build({ parts });
    const operations = JSON.parse(item.body) as { operationId: string; userLabels: unknown; metricValueSets: unknown }[];
    expect(operations.map((o) => [o.userLabels, o.metricValueSets])).toEqual(
      parts.map((p) => [p.labels, [{ metricName: METRIC, metricValues: [{ int64Value: p.quantity }] }]]),
    );
    expect(new Set([item.wireKey, ...operations.map((o) => o.operationId)]).size).toBe(3);
    expect(build({ parts, itemId: 'i2' }).body).toBe(item.body);
    for (const wrong of [
      [parts[0]!],
      [],
      [parts[0]!, { ...parts[0]!, quantity: '50' }],
      [{ labels: { a: 'Ups' }, quantity: '150' }],
      [{ labels: { A: 'a' }, quantity: '150' }],
    ])
      expect(() => build({ parts: wrong })).toThrow(/user_labels_invalid/);
  });

  it('of which some parts were taken is neither accepted nor refused, and is asked again only where that is safe', () => {
    const parts = ['a', 'b'].map((v) => ({ labels: { team: v }, quantity: '75' }));
    const item = build({ parts });
    const [a, b] = (JSON.parse(item.body) as { operationId: string }[]).map((o) => o.operationId);
    const answer = (errors: [string | undefined, number][]): string =>
      JSON.stringify({ reportErrors: errors.map(([operationId, code]) => ({ operationId, status: { code, message: 'no' } })) });
    expect(readReportAnswer([item], '{}')).toMatchObject([{ outcome: 'accepted', acceptedQuantity: '150', receipt: item.wireKey }]);
    expect(readReportAnswer([item], answer([[b, 13]]))).toMatchObject([{ outcome: 'deferred', code: 'gcp.internal' }]);
    expect(readReportAnswer([item], answer([[b, 13]]), false)).toMatchObject([
      { outcome: 'unknown', detail: 'of 2 parts 1 were taken: no' },
    ]);
    expect(readReportAnswer([item], answer([[b, 3]]))).toMatchObject([{ outcome: 'unknown' }]);
    expect(
      readReportAnswer(
        [item],
        answer([
          [a, 3],
          [b, 3],
        ]),
      ),
    ).toMatchObject([{ outcome: 'rejected', code: 'gcp.invalid_argument' }]);
    expect(
      readReportAnswer(
        [item],
        answer([
          [a, 3],
          [b, 13],
        ]),
      ),
    ).toMatchObject([{ outcome: 'unknown' }]);
  });

  it('has an id of what it reports: the same each time, another for any other interval, metric or purchase [GC-46]', () => {
    expect(build({ itemId: 'i2', quantity: '9' }).wireKey).toBe(build().wireKey);
    const others = [
      build({ endsAt: new Date('2026-03-08T08:59:59Z') }),
      build({ dimension: `${SERVICE}/premium_x` }),
      build({ externalSubscriptionId: ID.replace('b', 'c') }),
      build({ startsAt: new Date('2026-03-08T08:00:01Z') }),
    ];
    expect(new Set([build(), ...others].map((i) => i.wireKey)).size).toBe(5);
  });

  it('has the kind of value that the live configuration gives its metric, and waits until that is read [GC-45]', () => {
    const value = (type: string | null, quantity = '150') =>
      (JSON.parse(build({ quantity }, type).body) as { metricValueSets: { metricValues: unknown[] }[] }).metricValueSets[0]!.metricValues;
    expect(value('INT64')).toEqual([{ int64Value: '150' }]);
    expect(value('DOUBLE')).toEqual([{ doubleValue: 150 }]);
    expect(() => value(null)).toThrow(/metric_types_unread/);
    expect(() => value('DISTRIBUTION')).toThrow(/metric_type_unsupported/);
    expect(value('DOUBLE', '9007199254740992')).toEqual([{ doubleValue: 9_007_199_254_740_992 }]);
    expect(() => value('DOUBLE', '9007199254740993'), 'a double has not this number').toThrow(/quantity_invalid/);
    const item = build({}, 'DOUBLE');
    expect(readReportAnswer([item], '{}')).toMatchObject([{ outcome: 'accepted', acceptedQuantity: '150' }]);
  });

  it('keeps every digit of the largest number [GC-44]', () => {
    expect(JSON.stringify(body({ quantity: '9223372036854775807' }))).toContain('"int64Value":"9223372036854775807"');
  });

  it('is not built from what Google would refuse, nor before the reporting id is known [GC-53]', () => {
    for (const quantity of ['0', '-1', '01', '1.0', '1.5', '1e3', '', ' 1', '9223372036854775808'])
      expect(() => build({ quantity }), quantity).toThrow();
    expect(() => build({ endsAt: hourStart })).toThrow(/interval/);
    expect(() => build({ refs: { ...refs, usageReportingId: undefined } })).toThrow(/usage_reporting_id_missing/);
    expect(() => build({ refs: { ...refs, usageReportingId: '' } })).toThrow(/usage_reporting_id_missing/);
  });

  it('ends before the cancellation under the same id [GC-51]', () => {
    const cancelled = { ...refs, state: 'ENTITLEMENT_CANCELLED', updateTime: '2026-03-08T08:30:00.500000Z' };
    const endsAt = new Date('2026-03-08T08:30:00.500Z');
    expect(body({ endsAt, refs: cancelled })).toMatchObject({ startTime: '2026-03-08T08:00:00.000Z', endTime: '2026-03-08T08:29:59.500Z' });
    expect(build({ endsAt, refs: cancelled }).wireKey).toBe(build({ endsAt }).wireKey);
    expect(body({ startsAt: new Date('2026-03-08T08:30:00Z'), endsAt, refs: cancelled })).toMatchObject({
      startTime: '2026-03-08T08:29:59.500Z',
      endTime: '2026-03-08T08:29:59.500Z',
    });
    expect(build({ endsAt, refs: cancelled }).route).toMatchObject({ ended: 'true' });
  });

  it('of the month before is never in one batch with those of this month, by Pacific time [GC-52]', () => {
    const at = (text: string) => batchKey(build({ hourStart: new Date(text) }));
    expect(at('2026-04-01T06:00:00Z')).toBe(at('2026-03-10T00:00:00Z'));
    expect(at('2026-04-01T07:00:00Z')).not.toBe(at('2026-04-01T06:00:00Z'));
  });
});

describe('a deadline', () => {
  const at = (start: string, endedAt: string | null = null) =>
    deadlines({
      hourStart: new Date(start),
      hourEnd: new Date(Date.parse(start) + 3_600_000),
      endedAt: endedAt === null ? null : new Date(endedAt),
    });

  it('is one hour by wish and 01:00 Pacific on the 1st by force [GC-52]', () => {
    expect(at('2026-03-08T08:00:00Z')).toEqual({ target: new Date('2026-03-08T10:00:00Z'), hard: new Date('2026-04-01T08:00:00Z') });
    expect(at('2026-04-01T06:00:00Z')).toEqual({ target: new Date('2026-04-01T08:00:00Z'), hard: new Date('2026-04-01T08:00:00Z') });
    expect(at('2026-04-01T07:00:00Z').hard).toEqual(new Date('2026-05-01T08:00:00Z'));
    expect(at('2026-12-31T12:00:00Z').hard).toEqual(new Date('2027-01-01T09:00:00Z'));
    expect(at('2026-02-10T12:00:00Z').hard, 'winter time').toEqual(new Date('2026-03-01T09:00:00Z'));
  });

  it('is the first of the two 01:00 on the day the clocks go back [GC-52]', () => {
    // In 2026 that day is Sunday 1 November: 01:00 shows at 08:00Z and again at 09:00Z.
    expect(at('2026-10-15T00:00:00Z').hard).toEqual(new Date('2026-11-01T08:00:00Z'));
    expect(at('2026-11-01T06:00:00Z').hard).toEqual(new Date('2026-11-01T08:00:00Z'));
    expect(at('2026-11-01T07:00:00Z').hard).toEqual(new Date('2026-12-01T09:00:00Z'));
    expect(monthCutOff(new Date('2025-10-31T12:00:00Z')), 'an ordinary year').toEqual(new Date('2025-11-01T08:00:00Z'));
  });

  it('is an hour after the cancellation, where that is sooner [GC-52]', () => {
    expect(at('2026-03-08T08:00:00Z', '2026-03-08T08:30:00Z')).toEqual({
      target: new Date('2026-03-08T09:30:00Z'),
      hard: new Date('2026-03-08T09:30:00Z'),
    });
    expect(at('2026-04-01T06:00:00Z', '2026-04-01T07:30:00Z').hard).toEqual(new Date('2026-04-01T08:00:00Z'));
  });

  it('knows the Pacific month of any instant', () => {
    expect(
      ['2026-01-01T07:59:59Z', '2026-01-01T08:00:00Z', '2026-07-01T06:59:59Z', '2026-07-01T07:00:00Z'].map((t) =>
        billingMonthOf(new Date(t)),
      ),
    ).toEqual(['2025-12', '2026-01', '2026-06', '2026-07']);
  });
});

describe('an answer', () => {
  const one = build();
  const two = build({ itemId: 'i2', dimension: `${SERVICE}/standard_mib_egress`, quantity: '7' });
  const report = (reportErrors: unknown) => readReportAnswer([one, two], JSON.stringify({ reportErrors, serviceConfigId: 'x' }));
  const error = (id: string, code: unknown, message = 'because') => ({ operationId: id, status: { code, message } });

  it('without errors accepts everything, and the operation id is the receipt', () => {
    for (const text of ['{}', '{"reportErrors":[]}', '{"serviceConfigId":"x"}']) {
      expect(readReportAnswer([one, two], text)).toEqual([
        { itemId: 'i1', outcome: 'accepted', receipt: one.wireKey, acceptedQuantity: '150', at: null },
        { itemId: 'i2', outcome: 'accepted', receipt: two.wireKey, acceptedQuantity: '7', at: null },
      ]);
    }
  });

  it('of 200 refuses single operations [GC-48]', () => {
    expect(report([error(two.wireKey, 3)])).toMatchObject([
      { outcome: 'accepted' },
      { itemId: 'i2', outcome: 'rejected', code: 'gcp.invalid_argument', detail: 'because' },
    ]);
    expect(report([error(one.wireKey, 5)])).toMatchObject([{ outcome: 'deferred', code: 'gcp.not_found' }, { outcome: 'accepted' }]);
    expect(report([error(one.wireKey, 13), error(two.wireKey, 14)])).toMatchObject([{ outcome: 'deferred' }, { outcome: 'deferred' }]);
    expect(report([error(one.wireKey, 6)])).toMatchObject([
      { outcome: 'duplicate_conflict', acceptedQuantity: null },
      { outcome: 'accepted' },
    ]);
  });

  it('that makes no sense accepts nothing', () => {
    for (const text of ['', 'x', '[]', 'null', '{"reportErrors":{}}', '{"reportErrors":"x"}'])
      expect(
        readReportAnswer([one, two], text).map((o) => o.outcome),
        text,
      ).toEqual(['unknown', 'unknown']);
    expect(
      report([{ status: { code: 3 } }]).map((o) => o.outcome),
      'an error without a name',
    ).toEqual(['unknown', 'unknown']);
    expect(report([error(one.wireKey, 99)])[0]).toMatchObject({ outcome: 'unknown' });
    expect(report([error(one.wireKey, undefined)])[0]).toMatchObject({ outcome: 'unknown' });
  });

  it('of a check is clean, blocked or no answer', () => {
    const check = (code: string) => readCheckAnswer(JSON.stringify({ checkErrors: [{ code, detail: 'd' }] }));
    expect(readCheckAnswer('{"operationId":"x"}')).toBeNull();
    expect(check('BILLING_DISABLED')).toMatchObject({ code: 'gcp.billing_disabled', maybeEnded: true });
    expect(check('SERVICE_NOT_ACTIVATED')).toMatchObject({ code: 'gcp.service_not_activated', maybeEnded: true });
    expect(check('SERVICE_STATUS_UNAVAILABLE')).toMatchObject({ retryAfterMs: 60_000, maybeEnded: false });
    expect(check('SOMETHING_NEW')).toMatchObject({ code: 'gcp.something_new' });
    for (const text of ['', '[]', '{"checkErrors":"x"}']) expect(readCheckAnswer(text)).toBeUndefined();
  });
});
