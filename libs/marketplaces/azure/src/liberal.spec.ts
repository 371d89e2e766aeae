import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readErrorBody } from './error-body.js';
import { NumberText, parseExactJson } from './exact-json.js';
import { decimalOf, exclusiveEndOf, guidOf, instantOf, seatsOf, textOf } from './liberal.js';
import { resolvedTruthOf, truthOf } from './truth.js';

const NOW = new Date('2026-03-08T10:00:00Z');
const ID = '8f0c1c2e-0000-4000-8000-000000000001';
const wire = (change: Record<string, unknown> = {}): Record<string, unknown> => ({
  id: ID,
  publisherId: 'acme',
  offerId: 'acme-k8s',
  name: 'A cluster',
  saasSubscriptionStatus: 'Subscribed',
  planId: 'gold',
  quantity: 20,
  beneficiary: { emailId: 'it@buyer.example', objectId: 'o', tenantId: 't', puid: 'p' },
  purchaser: { emailId: '', objectId: null },
  term: { termUnit: 'P1M', startDate: '2026-03-07T00:00:00Z', endDate: '2026-04-06T00:00:00Z', chargeDuration: null },
  autoRenew: true,
  isTest: false,
  isFreeTrial: false,
  allowedCustomerOperations: ['Delete', 'Update', 'Read'],
  lastModified: '0001-01-01T00:00:00',
  ...change,
});

describe('liberal reading', () => {
  it('takes seats as text, number, empty or null [AZ-24]', () => {
    expect([20, '20', ' 20 ', new NumberText('20'), '20.0'].map(seatsOf)).toEqual([20, 20, 20, 20, 20]);
    expect(['', ' ', null, undefined, 'many', -1, 1.5, {}].map(seatsOf)).toEqual(Array(8).fill(null));
  });

  it('takes times with and without zone, and none for the year 1 [AZ-24]', () => {
    for (const text of ['2026-03-08T18:48:58.4449937Z', '2026-03-08T18:48:58.4449937', ' 2026-03-08T19:48:58.444+01:00 '])
      expect(instantOf(text)?.toISOString(), text).toBe('2026-03-08T18:48:58.444Z');
    expect(instantOf('2026-03-08')?.toISOString()).toBe('2026-03-08T00:00:00.000Z');
    for (const text of ['0001-01-01T00:00:00', '0001-01-01T00:00:00Z', '', 'soon', '2026-13-40T00:00:00Z', 5, null])
      expect(instantOf(text), String(text)).toBeNull();
  });

  it('makes the last valid day an exclusive end [AZ-25]', () => {
    expect(exclusiveEndOf('2026-04-06T00:00:00Z')?.toISOString()).toBe('2026-04-07T00:00:00.000Z');
    expect(exclusiveEndOf('2026-04-06T23:59:59.999')?.toISOString()).toBe('2026-04-07T00:00:00.000Z');
  });

  it('lets only GUIDs into a URL', () => {
    expect(guidOf(` ${ID.toUpperCase()} `)).toBe(ID);
    for (const text of ['../x', `${ID}/activate`, `${ID}?x`, '', null]) expect(guidOf(text)).toBeNull();
  });

  it('keeps the digits of numbers', () => {
    const { a, b, c } = parseExactJson('{"a":0.187500,"b":[12345678901234567890.000001,1e2],"c":"7 \\" 8"}') as {
      a: NumberText;
      b: NumberText[];
      c: string;
    };
    expect([a.text, b[0]!.text, b[1]!.text, c]).toEqual(['0.187500', '12345678901234567890.000001', '1e2', '7 " 8']);
    expect(() => parseExactJson('{"a":01}')).toThrow(SyntaxError);
    expect(decimalOf(new NumberText('1.50'))).toBe('1.50');
    expect(textOf(' Subscribed ')).toBe('Subscribed');
  });

  it('keeps the digits of any number, alone and among others, whatever a double would make of it', () => {
    const digits = fc.stringMatching(/^(?:0|[1-9]\d{0,20})(?:\.\d{1,20})?$/);
    fc.assert(
      fc.property(fc.array(digits, { minLength: 1, maxLength: 5 }), (texts) => {
        const read = parseExactJson(`{"at":"10:00:00.120Z","first" : ${texts[0]},"all":[${texts.join(', ')}]}`) as Record<string, unknown>;
        expect([read['first'], ...(read['all'] as unknown[])].map(decimalOf)).toEqual([texts[0], ...texts]);
      }),
      { numRuns: 2_000 },
    );
    for (const text of ['0.0000001', '1.50', '10', '100.0', '123456789012345', '1234567890123456']) {
      expect(decimalOf((parseExactJson(`{"a":${text}}`) as Record<string, unknown>)['a'])).toBe(text);
    }
  });
});

describe('a purchase', () => {
  it('is read with its parties, term and state', () => {
    expect(truthOf(wire({ saasSubscriptionStatus: ' Subscribed ', quantity: '20' }), NOW)).toMatchObject({
      externalSubscriptionId: ID,
      state: 'active',
      quantity: 20,
      version: null,
      readOnly: false,
      endsAt: null,
      purchaser: null,
      beneficiary: { email: 'it@buyer.example', personId: 'o', directoryId: 't', accountId: 'p' },
      term: { unit: 'P1M', startsAt: new Date('2026-03-07T00:00:00Z'), endsAt: new Date('2026-04-07T00:00:00Z') },
    });
  });

  it('ends with its term where it does not renew, and is read-only through a reseller [AZ-29]', () => {
    expect(truthOf(wire({ autoRenew: false }), NOW)?.endsAt?.toISOString()).toBe('2026-04-07T00:00:00.000Z');
    expect(truthOf(wire({ allowedCustomerOperations: ['Read'] }), NOW)?.readOnly).toBe(true);
  });

  it('tells the partner who sold it by his directory, by rights to read only, or by the sandbox type [AZ-150]', () => {
    const [buyer, partner] = ['00000000-0000-4000-8000-0000000000b2', '00000000-0000-4000-8000-0000000000c2'];
    const sold = (purchaser: string, over: Record<string, unknown> = {}) =>
      truthOf(wire({ beneficiary: { tenantId: buyer }, purchaser: { tenantId: purchaser }, ...over }), NOW)!.reseller;
    expect(sold(partner)).toEqual({ accountId: partner, authorizationId: null });
    expect(sold(partner, { allowedCustomerOperations: ['Read'] })).toEqual({ accountId: partner, authorizationId: null });
    expect(sold(buyer)).toBeNull();
    const unnamed = { accountId: null, authorizationId: null };
    expect(sold(buyer, { allowedCustomerOperations: ['Read'] })).toEqual(unnamed);
    expect(sold(buyer, { sandboxType: 'Csp' })).toEqual(unnamed);
  });

  it('is of whom it serves: his directory, or himself where he shares the one of personal accounts [AZ-99]', () => {
    const of = (beneficiary: unknown): unknown => truthOf(wire({ beneficiary, purchaser: { puid: 'a reseller' } }), NOW)!.buyerAccountId;
    expect(of({ objectId: 'O', tenantId: 'AB12' })).toBe('directory:ab12');
    expect(of({ objectId: 'O', tenantId: '9188040d-6c67-4c5b-b112-36a304b66dad' })).toBe('person:o');
    expect([of(null), of({ emailId: 'it@buyer.example' })]).toEqual([null, null]);
  });

  it('knows when it was bought', () => {
    expect(truthOf(wire({ created: '2026-03-07T07:03:17.5098444Z' }), NOW)!.createdAt).toEqual(new Date('2026-03-07T07:03:17.509Z'));
    expect(truthOf(wire(), NOW)!.createdAt).toBeNull();
  });

  it('knows all five states, and no others', () => {
    const states = ['NotStarted', 'PendingFulfillmentStart', 'Subscribed', 'Suspended', 'Unsubscribed'].map(
      (s) => truthOf(wire({ saasSubscriptionStatus: s }), NOW)?.state,
    );
    expect(states).toEqual(['pending_fulfillment', 'pending_fulfillment', 'active', 'suspended', 'ended']);
    expect(truthOf(wire({ saasSubscriptionStatus: 'Paused' }), NOW)).toBeNull();
    expect(truthOf(null, NOW)).toBeNull();
  });

  it('is resolved from the outer and the inner object together', () => {
    const inner = wire({ quantity: null, name: undefined });
    expect(
      resolvedTruthOf(
        { id: ID, subscriptionName: 'A cluster', offerId: 'acme-k8s', planId: 'gold', quantity: '', subscription: inner },
        NOW,
      ),
    ).toMatchObject({ name: 'A cluster', quantity: null, state: 'active' });
    expect(
      resolvedTruthOf({ id: ID, subscriptionName: 'A cluster', quantity: '20', subscription: wire({ quantity: 20 }) }, NOW),
    ).toMatchObject({ quantity: 20 });
  });
});

describe('an error body', () => {
  it('of every shape that was seen gives code and message [AZ-26]', () => {
    const cases: [string, string | null, string][] = [
      [
        '{"code":"BadArgument","message":"One or more errors.","target":"x","details":[{"message":"The planId is wrong.","code":"BadArgument"}]}',
        'BadArgument',
        'One or more errors. The planId is wrong.',
      ],
      ['{"message":"An error has occurred."}', null, 'An error has occurred.'],
      [
        '{"Error":{"Code":"ApiVersionUnspecified","Message":"An API version is required."}}',
        'ApiVersionUnspecified',
        'An API version is required.',
      ],
      ['{"error":{"code":"Unauthorized","message":"no"}}', 'Unauthorized', 'no'],
      ['{"error":"invalid_client","error_description":"AADSTS7000215: no"}', 'invalid_client', 'AADSTS7000215: no'],
      ['"The authorization token is invalid."', null, 'The authorization token is invalid.'],
      ['<html><b>Bad  Gateway</b></html>', null, 'Bad Gateway'],
      ['', null, ''],
      ['null', null, ''],
      ['[]', null, ''],
      ['{"details":5}', null, ''],
    ];
    for (const [body, code, message] of cases) expect(readErrorBody(body), body).toEqual({ code, message });
  });
});
