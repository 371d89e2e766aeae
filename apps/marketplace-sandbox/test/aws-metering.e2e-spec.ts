import type { UsageRecord } from '@aws-sdk/client-marketplace-metering';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AwsBench, type Bought, nameOf, OTHER_PRODUCT, PRODUCT } from './support/aws.js';
import { call, HOUR } from './support/harness.js';

let bench: AwsBench;
let bought: Bought;
beforeAll(async () => {
  bench = await AwsBench.start();
  bought = await bench.buy();
});
afterAll(() => bench.stop());

describe('the wire (contract aws §6)', () => {
  it('takes a request that the real SDK signed, and refuses a wrong secret, key or region', async () => {
    expect((await bench.meter([])).Results).toEqual([]);
    expect(await nameOf(bench.meter([], {}, bench.client({ secretAccessKey: 'wrong' })))).toBe('InvalidSignatureException');
    expect(await nameOf(bench.meter([], {}, bench.client({ accessKeyId: 'AKIANOBODY' })))).toBe('UnrecognizedClientException');
    expect(await nameOf(bench.meter([], {}, bench.client({ region: 'mars-north-1' })))).toBe('DisabledApiException');
  });

  it('answers raw calls with 400, __type, x-amzn-errortype, a request id and the real Date', async () => {
    await bench.sandbox.advance(3 * 86_400);
    const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'AWSMPMeteringService.BatchMeterUsage' };
    const unsigned = await call(`${bench.sandbox.url}/aws/metering`, { text: '{}', headers });
    expect([unsigned.status, unsigned.json.__type, unsigned.headers.get('x-amzn-errortype')]).toEqual([
      400,
      'MissingAuthenticationTokenException',
      'MissingAuthenticationTokenException',
    ]);
    expect(unsigned.headers.get('x-amzn-requestid')).toBeTruthy();
    expect(Math.abs(Date.parse(unsigned.headers.get('date') ?? '') - Date.now())).toBeLessThan(10_000);
    const authorization =
      'AWS4-HMAC-SHA256 Credential=AKIASANDBOX000000000/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00';
    const scoped = await call(`${bench.sandbox.url}/aws/metering/`, { text: '{}', headers: { ...headers, authorization } });
    expect([scoped.status, scoped.json.__type]).toEqual([400, 'InvalidSignatureException']);
    expect(scoped.json.message).toContain('aws-marketplace');
  });

  it('throttles at the rate of contract §5.1 in real time, as HTTP 400', async () => {
    await bench.settings({ ratePerSecond: 10 });
    // A region of its own: the rate is counted per account and region.
    const west = bench.client({ region: 'us-west-2' });
    const names = await Promise.all(Array.from({ length: 14 }, () => nameOf(bench.meter([], {}, west))));
    expect([
      names.filter((name) => name.startsWith('no error')).length,
      names.filter((name) => name === 'ThrottlingException').length,
    ]).toEqual([10, 4]);
    expect((await bench.meter([])).Results).toEqual([]);
    await bench.settings({ ratePerSecond: 1000 });
  });
});

describe('BatchMeterUsage refuses the whole request (contract aws §5.4)', () => {
  async function refusedWith(name: string, change: Partial<UsageRecord>, extra: object = {}): Promise<void> {
    const before = (await bench.billed(bought)).length;
    const good = await bench.record(bought, 2, { Dimension: 'mib_hours_stored' });
    expect(await nameOf(bench.meter([good, await bench.record(bought, 1, change)], extra))).toBe(name);
    expect((await bench.billed(bought)).length).toBe(before);
  }

  it.each<[string, string, Partial<UsageRecord>]>([
    ['an unknown dimension', 'InvalidUsageDimensionException', { Dimension: 'MIB_EGRESS' }],
    ['a fraction', 'SerializationException', { Quantity: 1.5 }],
    ['more than an int32', 'ValidationException', { Quantity: 2_147_483_648 }],
    ['less than zero', 'ValidationException', { Quantity: -1 }],
    ['no dimension', 'ValidationException', { Dimension: undefined }],
    ['no account', 'InvalidCustomerIdentifierException', { CustomerAWSAccountId: undefined }],
    ['a customer identifier', 'InvalidCustomerIdentifierException', { CustomerIdentifier: 'aBcDeFgHiJk' }],
    [
      'the spelling of events (§2)',
      'ValidationException',
      { LicenseArn: 'aws:license-manager:us-east-1:294400000000:l-0123456789abcdef0123456789abcdef' },
    ],
    ['allocations that do not add up (§5.1)', 'InvalidUsageAllocationsException', { UsageAllocations: [{ AllocatedUsageQuantity: 4 }] }],
    [
      'two allocations of one tag set (§5.1)',
      'InvalidUsageAllocationsException',
      { UsageAllocations: [{ AllocatedUsageQuantity: 2 }, { AllocatedUsageQuantity: 3 }] },
    ],
    [
      'a bad tag (§5.1)',
      'InvalidTagException',
      { UsageAllocations: [{ AllocatedUsageQuantity: 5, Tags: [{ Key: 'unit', Value: 'a#b' }] }] },
    ],
  ])('for %s', (_what, name, change) => refusedWith(name, change));

  it('for ProductCode beside LicenseArn (§0.3)', () => refusedWith('InvalidProductCodeException', {}, { ProductCode: PRODUCT }));

  it('for a time before the licence, in the future, or of another licence spelling', async () => {
    const young = await bench.buy({ startsAt: undefined });
    expect(await nameOf(bench.meter([await bench.record(young, 1)]))).toBe('InvalidLicenseException');
    expect(await nameOf(bench.meter([await bench.record(bought, -1)]))).toBe('TimestampOutOfBoundsException');
    const respelled = bought.licenseArn.replace('license-manager::', 'license-manager:us-east-1:');
    expect(await nameOf(bench.meter([await bench.record(bought, 1, { LicenseArn: respelled })]))).toBe('InvalidLicenseException');
  });

  it('for a time that the older texts no longer take (§12), and takes it by the newer', async () => {
    await bench.settings({ lookBackHours: 6 });
    expect(await nameOf(bench.meter([await bench.record(bought, 8)]))).toBe('TimestampOutOfBoundsException');
    expect((await bench.meter([await bench.record(bought, 5)])).Results?.[0]?.Status).toBe('Success');
    await bench.settings({ lookBackHours: 24 });
    expect((await bench.meter([await bench.record(bought, 8)])).Results?.[0]?.Status).toBe('Success');
  });

  it('for licences of two products, or more than 25 records, or 1 MB (§5.1)', async () => {
    const other = await bench.buy({ productCode: OTHER_PRODUCT });
    expect(await nameOf(bench.meter([await bench.record(bought, 1), await bench.record(other, 1)]))).toBe('InvalidLicenseException');
    const record = await bench.record(bought, 1);
    expect(await nameOf(bench.meter(Array.from({ length: 26 }, () => record)))).toBe('ValidationException');
    const allocations = Array.from({ length: 2500 }, (_, index) => ({
      AllocatedUsageQuantity: 0,
      Tags: [{ Key: 'k'.repeat(100), Value: `${index}`.padEnd(256, 'v') }],
    }));
    expect(await nameOf(bench.meter([record, record, record].map((one) => ({ ...one, Quantity: 0, UsageAllocations: allocations }))))).toBe(
      'ValidationException',
    );
  });
});

describe('one record (contract aws §5.3, §5.4)', () => {
  it('identical again is Success with the same id, or DuplicateRecord when so set; different is DuplicateRecord and the first stays billed', async () => {
    const mine = await bench.buy();
    const record = await bench.record(mine, 3);
    const first = (await bench.meter([record])).Results?.[0];
    expect(first?.Status).toBe('Success');
    expect((await bench.meter([record])).Results?.[0]).toMatchObject({ Status: 'Success', MeteringRecordId: first?.MeteringRecordId });
    const other = (await bench.meter([{ ...record, Quantity: 6 }])).Results?.[0];
    expect([other?.Status, other?.MeteringRecordId, other?.UsageRecord?.Quantity]).toEqual(['DuplicateRecord', undefined, 6]);
    await bench.settings({ identicalResend: 'duplicate' });
    expect((await bench.meter([record])).Results?.[0]?.Status).toBe('DuplicateRecord');
    await bench.settings({ identicalResend: 'success' });
    expect(await bench.billed(mine)).toMatchObject([
      {
        marketplace: 'aws',
        externalId: mine.licenseId,
        planId: '',
        dimension: 'mib_egress',
        hour: record.Timestamp?.toISOString(),
        quantity: '5',
        receipt: first?.MeteringRecordId,
      },
    ]);
    const adjusted = await bench.sandbox.control('/aws/billed/adjust', {
      body: { externalId: mine.licenseId, dimension: 'mib_egress', hour: record.Timestamp?.toISOString(), by: '-2' },
    });
    expect([adjusted.status, (await bench.billed(mine))[0].quantity]).toEqual([200, '3']);
  });

  it('takes a zero and a split with tags; results come in another order than the request', async () => {
    const mine = await bench.buy();
    const records = [
      await bench.record(mine, 1, { Quantity: 0 }),
      await bench.record(mine, 2, {
        UsageAllocations: [{ AllocatedUsageQuantity: 3, Tags: [{ Key: 'BusinessUnit', Value: 'IT' }] }, { AllocatedUsageQuantity: 2 }],
      }),
    ];
    const results = (await bench.meter(records)).Results ?? [];
    expect(results.map((one) => one.Status)).toEqual(['Success', 'Success']);
    expect(results.map((one) => one.UsageRecord?.Timestamp?.getTime())).toEqual(records.map((one) => one.Timestamp?.getTime()).reverse());
  });

  it('answers CustomerNotSubscribed for an unknown licence, a wrong account and one not licensed yet', async () => {
    const waiting = await bench.buy({ order: 'landing_first' });
    const results = (
      await bench.meter([
        await bench.record(bought, 4, { LicenseArn: `${bought.licenseArn.slice(0, -32)}${'0'.repeat(32)}` }),
        await bench.record(bought, 4, { CustomerAWSAccountId: '444455556666' }),
        await bench.record(waiting, 4),
        await bench.record(bought, 4),
      ])
    ).Results;
    expect(results?.map((one) => one.Status).sort()).toEqual([
      'CustomerNotSubscribed',
      'CustomerNotSubscribed',
      'CustomerNotSubscribed',
      'Success',
    ]);
  });

  it('leaves records unprocessed when told to, and takes them afterwards', async () => {
    const mine = await bench.buy();
    await bench.fault('batchMeterUsage', 'unprocessed', { records: 1 });
    const answer = await bench.meter([await bench.record(mine, 1), await bench.record(mine, 2)]);
    expect([answer.Results?.length, answer.UnprocessedRecords?.length, (await bench.billed(mine)).length]).toEqual([1, 1, 1]);
    expect((await bench.meter(answer.UnprocessedRecords ?? [])).Results?.[0]?.Status).toBe('Success');
  });

  it('a throttle fault is HTTP 400 and named in the calls', async () => {
    await bench.fault('batchMeterUsage', 'throttle');
    expect(await nameOf(bench.meter([]))).toBe('ThrottlingException');
    const calls = (await bench.sandbox.control('/calls?marketplace=aws&operation=batchMeterUsage')).json.items;
    expect(calls.some((one: { fault?: string; status: number }) => one.fault === 'throttle' && one.status === 400)).toBe(true);
  });
});

describe('time (contract aws §5.2)', () => {
  const until = async (instant: number): Promise<unknown> => bench.sandbox.advance((instant - (await bench.sandbox.now())) / 1000);
  const at = (timestamp: number, mine: Bought): UsageRecord => ({
    Timestamp: new Date(timestamp),
    CustomerAWSAccountId: mine.accountId,
    LicenseArn: mine.licenseArn,
    Dimension: 'mib_egress',
    Quantity: 1,
  });

  it('takes 24 hours back and no more; last month closes at 06:00 UTC on the 1st', async () => {
    const mine = await bench.buy();
    const now = await bench.sandbox.now();
    const today = new Date(now);
    // Away from the month's start, so that only the 24 hours count.
    await until(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + 1, 10, 12, 0, 30));
    const mid = Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + 1, 9, 13);
    expect((await bench.meter([at(mid, mine)])).Results?.[0]?.Status).toBe('Success');
    expect(await nameOf(bench.meter([at(mid - HOUR, mine)]))).toBe('TimestampOutOfBoundsException');
    const first = Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + 2, 1);
    await until(first + 6 * HOUR - 60_000);
    expect((await bench.meter([at(first - HOUR, mine)])).Results?.[0]?.Status).toBe('Success');
    await until(first + 6 * HOUR + 1000);
    expect(await nameOf(bench.meter([at(first - 2 * HOUR, mine)]))).toBe('TimestampOutOfBoundsException');
    expect((await bench.meter([at(first, mine)])).Results?.[0]?.Status).toBe('Success');
  });
});
