import { describe, expect, it } from 'vitest';
import type { UsageItemInput, UsageWireItem } from '#marketplaces/core';
import { buildUsageItem, deadlines } from './usage-item.js';
import { readBatchAnswer, sameQuantity } from './usage-outcomes.js';
import { retryAfterMs } from './api-client.js';

const ID = '8f0c1c2e-0000-4000-8000-000000000001';
const hourStart = new Date('2026-03-08T08:00:00Z');
const input = (change: Partial<UsageItemInput> = {}): UsageItemInput => ({
  itemId: 'i1',
  externalSubscriptionId: ID,
  externalPlanId: 'gold',
  dimension: 'gpu_hours',
  hourStart,
  startsAt: hourStart,
  endsAt: hourStart,
  quantity: '5',
  refs: {},
  ...change,
});
const wire = { resourceId: ID, dimension: 'gpu_hours', effectiveStartTime: '2026-03-08T08:00:00', planId: 'gold' };
const answer = (items: UsageWireItem[], ...results: string[]) =>
  readBatchAnswer(items, `{"count":${results.length},"result":[${results.join(',')}]}`);
const result = (fields: Record<string, unknown>, quantity = '5.0'): string =>
  `{"quantity":${quantity},${JSON.stringify({ ...wire, ...fields }).slice(1)}`;
const duplicate = (accepted: string): string =>
  result({ status: 'Duplicate', messageTime: '0001-01-01T00:00:00' }).replace(
    /}$/,
    `,"error":{"additionalInfo":{"acceptedMessage":${accepted}},"code":"Conflict"}}`,
  );
const one = buildUsageItem(input());

describe('an item', () => {
  it('is the literal quantity at the start of its hour [AZ-34]', () => {
    expect(buildUsageItem(input({ quantity: '12345678901234567890.000001' })).body).toBe(
      `{"resourceId":"${ID}","quantity":12345678901234567890.000001,"dimension":"gpu_hours","effectiveStartTime":"2026-03-08T08:00:00Z","planId":"gold"}`,
    );
    expect(one.wireKey).toBe(`${ID}|gpu_hours|2026-03-08T08:00:00Z`);
    expect(JSON.parse(buildUsageItem(input({ dimension: 'a"b' })).body)).toMatchObject({ dimension: 'a"b' });
  });

  it('is not built with what would be refused', () => {
    for (const quantity of ['0', '0.000000', '-1', '01', '1.', '.5', '1e3', '0.0000001', '', ' 1'])
      expect(() => buildUsageItem(input({ quantity })), quantity).toThrow();
    expect(() => buildUsageItem(input({ hourStart: new Date('2026-03-08T08:00:01Z') }))).toThrow();
    expect(() => buildUsageItem(input({ externalSubscriptionId: 'x' }))).toThrow();
  });

  it('may be sent until 24 hours after the start of its hour [AZ-35]', () => {
    const at = (endedAt: string | null) =>
      deadlines({ hourStart, hourEnd: new Date('2026-03-08T09:00:00Z'), endedAt: endedAt === null ? null : new Date(endedAt) });
    expect(at(null)).toEqual({ target: new Date('2026-03-09T05:00:00Z'), hard: new Date('2026-03-09T07:55:00Z') });
    expect(at('2026-03-08T08:30:00Z')).toEqual({ target: new Date('2026-03-08T10:00:00Z'), hard: new Date('2026-03-09T07:55:00Z') });
    expect(at('2026-03-09T12:00:00Z').target).toEqual(new Date('2026-03-09T05:00:00Z'));
  });
});

describe('an outcome', () => {
  it('of acceptance has their id, digits and time', () => {
    expect(answer([one], result({ status: 'Accepted', usageEventId: 'r', messageTime: '2026-03-08T09:05:00Z' }))).toEqual([
      { itemId: 'i1', outcome: 'accepted', receipt: 'r', acceptedQuantity: '5.0', at: new Date('2026-03-08T09:05:00Z') },
    ]);
    expect(answer([one], result({ status: 'Accepted' }))).toMatchObject([{ outcome: 'unknown' }]);
  });

  it('of a duplicate is ours only if their stored item equals ours [AZ-36]', () => {
    const accepted = (fields: Record<string, unknown>, quantity = '5.000'): string =>
      result({ usageEventId: 'r', effectiveStartTime: '2026-03-08T08:03:28.14Z', ...fields }, quantity);
    expect(answer([one], duplicate(accepted({})))).toEqual([
      { itemId: 'i1', outcome: 'duplicate_equal', receipt: 'r', acceptedQuantity: '5.000' },
    ]);
    expect(answer([one], duplicate('{"usageEventId":"r","status":"Duplicate","quantity":5}'))).toMatchObject([
      { outcome: 'duplicate_equal' },
    ]);
    expect(answer([one], duplicate(accepted({}, '5.000001')))).toMatchObject([
      { outcome: 'duplicate_conflict', receipt: 'r', acceptedQuantity: '5.000001' },
    ]);
    expect(answer([one], duplicate(accepted({ planId: 'silver' })))).toMatchObject([{ outcome: 'duplicate_conflict' }]);
    expect(answer([one], duplicate(accepted({ effectiveStartTime: '2026-03-08T09:00:00Z' })))).toMatchObject([
      { outcome: 'duplicate_conflict' },
    ]);
    expect(answer([one], result({ status: 'Duplicate' }))).toEqual([
      { itemId: 'i1', outcome: 'duplicate_conflict', receipt: null, acceptedQuantity: null },
    ]);
  });

  it('compares quantities exactly, as far as a double at their side can', () => {
    expect(sameQuantity('0.1', '0.10000000000000001')).toBe(false);
    expect(sameQuantity('123456789012.123456', '123456789012.12346')).toBe(true);
    expect(sameQuantity('123456789012.123456', '123456789012.12348')).toBe(false);
  });

  it('of each documented status [AZ-37]', () => {
    const outcomes = [
      'Expired',
      'ResourceNotFound',
      'ResourceNotAuthorized',
      'ResourceNotActive',
      'InvalidDimension',
      'InvalidQuantity',
      'BadArgument',
      'Error',
      ' badargument ',
      'Sideways',
      '',
    ].map((status) => {
      const [o] = answer([one], result({ status, error: { message: 'why' } }));
      return o!.outcome === 'rejected' || o!.outcome === 'deferred' ? `${o!.outcome} ${o!.code}` : o!.outcome;
    });
    expect(outcomes).toEqual([
      'expired',
      'rejected azure.resource_not_found',
      'rejected azure.resource_not_authorised',
      'deferred azure.resource_not_active',
      'rejected azure.invalid_dimension',
      'rejected azure.invalid_quantity',
      'rejected azure.bad_argument',
      'deferred azure.error',
      'rejected azure.bad_argument',
      'unknown',
      'unknown',
    ]);
  });

  it('is found by key in any order, and unknown where the answer is silent [AZ-38]', () => {
    const items = ['a', 'b', 'c'].map((dimension, i) => buildUsageItem(input({ itemId: dimension, dimension, quantity: String(i + 1) })));
    const accepted = (dimension: string, q: string): string =>
      result({ status: 'Accepted', usageEventId: dimension, dimension, resourceId: ID.toUpperCase() }, q);
    expect(answer(items, accepted('c', '3'), accepted('a', '1'))).toMatchObject([
      { itemId: 'a', receipt: 'a', acceptedQuantity: '1' },
      { itemId: 'b', outcome: 'unknown' },
      { itemId: 'c', receipt: 'c', acceptedQuantity: '3' },
    ]);
    for (const text of ['', 'null', '<html>', '{}', '{"result":[5,null]}', '{"result":{}}'])
      expect(
        readBatchAnswer(items, text).map((o) => o.outcome),
        text,
      ).toEqual(['unknown', 'unknown', 'unknown']);
  });
});

it('reads Retry-After as seconds or as a date [AZ-42]', () => {
  expect(retryAfterMs('7')).toBe(7_000);
  expect(retryAfterMs(new Date(Date.now() + 60_000).toUTCString())).toBeGreaterThan(50_000);
  expect(retryAfterMs('Thu, 01 Jan 1970 00:00:00 GMT')).toBe(0);
  expect([retryAfterMs(undefined), retryAfterMs('soon')]).toEqual([null, null]);
});
