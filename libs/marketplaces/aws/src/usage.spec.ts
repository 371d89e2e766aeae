import { describe, expect, it } from 'vitest';
import type { CostPart, UsageItemInput } from '#marketplaces/core';
import { BUYER, EVENT_ARN, LICENCE, PRODUCT, RESOLVED_ARN } from '../test/support/messages.js';
import { codeOf, failureOf } from './api.js';
import { recordOf } from './metering.js';
import { NOTHING_KNOWN } from './refs.js';
import { AWS_USAGE, batchKey, buildUsageItem, deadlines } from './usage-item.js';
import { readBatchAnswer, type ReadingOptions } from './usage-outcomes.js';

const HOUR = 3_600_000;
const refs = {
  ...NOTHING_KNOWN,
  licenseId: LICENCE,
  licenseArn: RESOLVED_ARN,
  accountId: BUYER,
  productCode: PRODUCT,
  licensed: true,
  registered: true,
};
const input = (over: Partial<UsageItemInput> = {}): UsageItemInput => {
  const hourStart = over.hourStart ?? new Date('2026-11-20T10:00:00Z');
  return {
    itemId: 'i-1',
    externalSubscriptionId: LICENCE,
    externalPlanId: 'standard',
    dimension: 'mib_egress',
    hourStart,
    startsAt: hourStart,
    endsAt: new Date(hourStart.getTime() + HOUR),
    quantity: '5',
    refs,
    ...over,
  };
};
const SETTINGS = { region: 'us-east-1', legacyProducts: {}, licenceWindow: 'hour' } as const;
const build = (over: Partial<UsageItemInput> = {}) => buildUsageItem(input(over), SETTINGS);

describe('a usage item', () => {
  it('is the record as AWS takes it, in the spelling of the landing [AW-26]', () => {
    expect(build()).toEqual({
      itemId: 'i-1',
      wireKey: `${LICENCE}|mib_egress|2026-11-20T10`,
      body: `{"Timestamp":1795168800,"CustomerAWSAccountId":"${BUYER}","LicenseArn":"${RESOLVED_ARN}","Dimension":"mib_egress","Quantity":5}`,
      route: { productCode: PRODUCT, region: 'us-east-1', month: '2026-11' },
    });
    expect(recordOf(build())).toEqual({
      Timestamp: new Date('2026-11-20T10:00:00Z'),
      CustomerAWSAccountId: BUYER,
      LicenseArn: RESOLVED_ARN,
      Dimension: 'mib_egress',
      Quantity: 5,
    });
  });

  it('carries its parts as allocations with tags, and a large one goes alone (contract aws §5.1)', () => {
    const parts: CostPart[] = [
      { labels: { Department: 'it', Stage: 'live' }, quantity: '3' },
      { labels: { Department: 'other' }, quantity: '2' },
    ];
    const item = build({ parts });
    expect(recordOf(item).UsageAllocations).toEqual([
      {
        AllocatedUsageQuantity: 3,
        Tags: [
          { Key: 'Department', Value: 'it' },
          { Key: 'Stage', Value: 'live' },
        ],
      },
      { AllocatedUsageQuantity: 2, Tags: [{ Key: 'Department', Value: 'other' }] },
    ]);
    expect(batchKey(item)).toBe(batchKey(build()));
    const many = Array.from({ length: 2_500 }, (_, i) => ({ labels: { Department: `d${i}` }, quantity: '1' }));
    const large = build({ parts: many, quantity: '2500' });
    expect(batchKey(large)).not.toBe(batchKey(build({ itemId: 'i-2', parts: many, quantity: '2500' })));
    expect(large.body.length).toBeLessThan(1_000_000);
  });

  it.each([
    ['do not add up', [{ labels: { D: 'a' }, quantity: '4' }]],
    ['are none', []],
    ['are too many', Array.from({ length: 2_501 }, (_, i) => ({ labels: { D: `d${i}` }, quantity: i < 5 ? '1' : '0' }))],
    ['have the same tags', [1, 4].map((n) => ({ labels: { D: 'a' }, quantity: String(n) }))],
    ['have a tag of other letters', [{ labels: { D: 'ü' }, quantity: '5' }]],
    ['have a key of 101', [{ labels: { ['k'.repeat(101)]: 'a' }, quantity: '5' }]],
    ['have a value of 257', [{ labels: { D: 'v'.repeat(257) }, quantity: '5' }]],
    ['have six tags', [{ labels: Object.fromEntries('abcdef'.split('').map((k) => [k, 'v'])), quantity: '5' }]],
  ])('is not built of parts that %s: one of them would refuse a whole call', (_, parts) => {
    expect(() => build({ parts: parts as never })).toThrow(/invalid_usage_allocations/);
  });

  it('may be zero or the largest whole number, and nothing else than a whole number [AW-26]', () => {
    for (const quantity of ['0', '1', '2147483647']) expect(build({ quantity }).body).toContain(`"Quantity":${quantity}}`);
    for (const quantity of ['2147483648', '99999999999', '-1', '1.0', '0.1', '1e3', '01', '', ' 1', 'NaN'])
      expect(() => build({ quantity }), quantity).toThrow(/invalid_quantity/);
  });

  it('waits for the landing, whose spelling it needs [AW-05]', () => {
    for (const licenseArn of [null, `${RESOLVED_ARN.slice(0, -1)}0`])
      expect(() => build({ refs: { ...refs, licenseArn } })).toThrow(/license_unresolved/);
    expect(() => build({ refs: {} })).toThrow(/license_unresolved/);
    expect(() => build({ refs: { ...refs, accountId: null } })).toThrow(/account_missing/);
  });

  it('of the hour in which its licence starts has the stamp that the chosen reading allows, under the same key [AW-130]', () => {
    const instant = { ...SETTINGS, licenceWindow: 'instant' } as const;
    const stamped = (startsAt: string, settings: typeof SETTINGS | typeof instant) => {
      const { wireKey, body } = buildUsageItem(input({ startsAt: new Date(startsAt) }), settings);
      return [new Date((JSON.parse(body) as { Timestamp: number }).Timestamp * 1_000).toISOString().slice(11, 19), wireKey.slice(-13)];
    };
    const key = '2026-11-20T10';
    expect(stamped('2026-11-20T10:20:00.250Z', SETTINGS)).toEqual(['10:00:00', key]);
    expect(stamped('2026-11-20T10:20:00.250Z', instant)).toEqual(['10:20:01', key]);
    for (const start of ['2026-11-20T10:00:00.000Z', '2026-11-19T08:30:00.000Z', '2026-11-20T10:59:59.500Z'])
      expect(stamped(start, instant), start).toEqual(['10:00:00', key]);
    const item = buildUsageItem(input({ startsAt: new Date('2026-11-20T10:20:00Z') }), instant);
    const record = recordOf(item);
    const results = { Results: [{ UsageRecord: record, Status: 'CustomerNotSubscribed' }] };
    // Its window is still the hour's: 24 h after 10:00, not after 10:20.
    const at = (now: string) => readBatchAnswer([item], results, { identicalResend: 'success', now: new Date(now) })[0]!.outcome;
    expect([at('2026-11-21T09:50:00Z'), at('2026-11-21T09:56:00Z')]).toEqual(['deferred', 'rejected']);
  });

  it('shares a batch only with its product, region and month [AW-27]', () => {
    const key = batchKey(build());
    expect(batchKey(build({ dimension: 'other' }))).toBe(key);
    expect(batchKey(build({ hourStart: new Date('2026-12-01T00:00:00Z') }))).not.toBe(key);
    expect(batchKey(build({ refs: { ...refs, productCode: 'another' } }))).not.toBe(key);
    expect(batchKey(buildUsageItem(input(), { ...SETTINGS, region: 'eu-west-1' }))).not.toBe(key);
  });
});

describe('the last moment of an hour', () => {
  const hard = (start: string, endedAt: string | null = null): string => {
    const hourStart = new Date(start);
    return deadlines({
      hourStart,
      hourEnd: new Date(hourStart.getTime() + HOUR),
      endedAt: endedAt === null ? null : new Date(endedAt),
    }).hard.toISOString();
  };

  it('is 24 h after its start [AW-28]', () => {
    expect(hard('2026-11-20T10:00:00Z')).toBe('2026-11-21T09:55:00.000Z');
    expect(hard('2026-11-01T00:00:00Z')).toBe('2026-11-01T23:55:00.000Z');
  });

  it('is 06:00 on the first for what is left of the month before [AW-28]', () => {
    expect(hard('2026-11-30T06:00:00Z')).toBe('2026-12-01T05:55:00.000Z');
    expect(hard('2026-11-30T23:00:00Z')).toBe('2026-12-01T05:55:00.000Z');
    expect(hard('2026-11-30T05:00:00Z')).toBe('2026-12-01T04:55:00.000Z');
    expect(hard('2026-12-31T23:00:00Z')).toBe('2027-01-01T05:55:00.000Z');
    expect(hard('2028-02-29T20:00:00Z')).toBe('2028-03-01T05:55:00.000Z');
  });

  it('and its warning come after the longest wait for late sources', () => {
    for (let hour = 0; hour < 48; hour += 1) {
      const hourStart = new Date(Date.UTC(2026, 10, 30, hour));
      const hourEnd = new Date(hourStart.getTime() + HOUR);
      const { target } = deadlines({ hourStart, hourEnd, endedAt: null });
      expect(target.getTime(), hourStart.toISOString()).toBeGreaterThan(hourEnd.getTime() + AWS_USAGE.holdLimitMinutes * 60_000);
    }
  });

  it('is one hour after the first ending event [AW-13]', () => {
    expect(hard('2026-11-20T10:00:00Z', '2026-11-20T10:20:00Z')).toBe('2026-11-20T11:15:00.000Z');
    expect(hard('2026-11-20T02:00:00Z', '2026-11-20T10:20:00Z')).toBe('2026-11-20T11:15:00.000Z');
    expect(hard('2026-11-30T23:00:00Z', '2026-12-01T05:30:00Z')).toBe('2026-12-01T05:55:00.000Z');
  });
});

describe('an answer', () => {
  const now = new Date('2026-11-20T12:00:00Z');
  const options: ReadingOptions = { identicalResend: 'success', now };
  const result = (over: Record<string, unknown>, record: Record<string, unknown> = {}) => ({
    UsageRecord: { Timestamp: new Date('2026-11-20T10:00:00Z'), LicenseArn: EVENT_ARN, Dimension: 'mib_egress', Quantity: 5, ...record },
    ...over,
  });
  const one = (answer: unknown, over: Partial<ReadingOptions> = {}, item = build()) =>
    readBatchAnswer([item], answer, { ...options, ...over })[0];

  it('is matched by licence, dimension and hour, not by place or spelling [AW-30]', () => {
    const items = [
      build(),
      build({ itemId: 'i-2', dimension: 'b', quantity: '7' }),
      build({ itemId: 'i-3', hourStart: new Date('2026-11-20T09:00:00Z') }),
    ];
    const Results = [
      result({ Status: 'Success', MeteringRecordId: 'r-2' }, { Dimension: 'b', Quantity: 7 }),
      result({ Status: 'Success', MeteringRecordId: 'r-1' }),
    ];
    expect(readBatchAnswer(items, { Results, UnprocessedRecords: [recordOf(items[2]!)] }, options)).toEqual([
      { itemId: 'i-1', outcome: 'accepted', receipt: 'r-1', acceptedQuantity: '5', at: null },
      { itemId: 'i-2', outcome: 'accepted', receipt: 'r-2', acceptedQuantity: '7', at: null },
      { itemId: 'i-3', outcome: 'deferred', code: 'aws.unprocessed', detail: expect.any(String) as string, retryAfterMs: 5_000 },
    ]);
  });

  it('without results, receipt or a known status is unknown', () => {
    for (const answer of [
      undefined,
      null,
      {},
      { Results: [] },
      { Results: 'x' },
      { Results: [null] },
      { Results: [result({ Status: 'Success' })] },
      { Results: [result({ Status: 'Pondering', MeteringRecordId: 'r' })] },
      { Results: [result({ Status: 'Success', MeteringRecordId: 'r' }, { Timestamp: '2026' })] },
    ]) {
      expect(one(answer), JSON.stringify(answer)).toMatchObject({ outcome: 'unknown' });
    }
  });

  it('of a duplicate is a conflict without their number, unless identical records are answered so [AW-31]', () => {
    const answer = { Results: [result({ Status: 'DuplicateRecord' })] };
    expect(one(answer)).toEqual({ itemId: 'i-1', outcome: 'duplicate_conflict', receipt: null, acceptedQuantity: null });
    expect(one(answer, { identicalResend: 'duplicate' })).toMatchObject({ outcome: 'duplicate_equal', acceptedQuantity: '5' });
  });

  it('that a customer is not subscribed waits for the licence, and is final after the end and after the window [AW-32]', () => {
    const answer = { Results: [result({ Status: 'CustomerNotSubscribed' })] };
    expect(one(answer)).toMatchObject({ outcome: 'deferred', code: 'aws.customer_not_subscribed' });
    expect(one(answer, { now: new Date('2026-11-21T09:55:00Z') })).toMatchObject({
      outcome: 'rejected',
      code: 'aws.customer_not_subscribed',
    });
    expect(one(answer, {}, build({ refs: { ...refs, endedAt: '2026-11-20T11:50:00.000Z' } }))).toMatchObject({ outcome: 'rejected' });
  });
});

describe('a failed call', () => {
  const aws = (name: string, status: number) =>
    failureOf(Object.assign(new Error('x'), { name, $fault: status < 500 ? 'client' : 'server', $metadata: { httpStatusCode: status } }))
      .sort;

  it('says whether something happened, and whose fault it is', () => {
    for (const name of [
      'TimestampOutOfBoundsException',
      'InvalidUsageDimensionException',
      'InvalidLicenseException',
      'ValidationException',
      'SomethingNewException',
    ])
      expect(aws(name, 400), name).toBe('refused');
    expect(aws('ThrottlingException', 400)).toBe('busy');
    for (const name of ['AccessDeniedException', 'UnrecognizedClientException', 'DisabledApiException', 'InvalidSignatureException'])
      expect(aws(name, 400), name).toBe('us');
    for (const [name, status] of [
      ['InternalServiceErrorException', 500],
      ['Unknown', 503],
    ] as const)
      expect(aws(name, status)).toBe('unknown');
    expect(failureOf(new SyntaxError('Unexpected token <')).sort).toBe('unknown');
    expect(failureOf(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })).sort).toBe('busy');
    expect(failureOf(Object.assign(new Error('x'), { code: 'ECONNRESET' })).sort).toBe('unknown');
    expect(failureOf(Object.assign(new Error('x'), { name: 'CredentialsProviderError' })).sort).toBe('us');
  });

  it('has a code of ours', () => {
    expect(codeOf('TimestampOutOfBoundsException')).toBe('aws.timestamp_out_of_bounds');
    expect(codeOf('InvalidUsageDimensionException')).toBe('aws.invalid_usage_dimension');
  });
});
