import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FulfillmentEvent, SubscriptionTruth } from '#marketplaces/core';
import { GuardedHttp, OffsetClock } from '#platform';
import { AGREEMENT, BUYER, LICENCE, PRODUCT, RESOLVED_ARN, stored, type Told } from '../test/support/messages.js';
import { Purchases } from '../test/support/purchases.js';
import { createAwsAdapter } from './aws-adapter.js';
import { normalise } from './normalise.js';
import { type AwsRefs, NOTHING_KNOWN, truthOfRefs } from './refs.js';

const adapter = createAwsAdapter(
  {
    productCodes: [PRODUCT],
    region: 'us-east-1',
    endpoint: 'http://127.0.0.1:9',
    webhookSecret: 'a-secret-of-the-test',
    credentials: { accessKeyId: 'k', secretAccessKey: 's' },
  },
  { clock: new OffsetClock(), http: new GuardedHttp({ allow: [] }) },
);
const at = (minute: number): string => new Date(Date.parse('2026-11-20T10:00:00Z') + minute * 60_000).toISOString();
const landing: FulfillmentEvent = {
  kind: 'purchased',
  marketplace: 'aws',
  externalSubscriptionId: LICENCE,
  occurredAt: new Date(at(3)),
  note: 'landing page opened',
  truth: truthOfRefs(
    { ...NOTHING_KNOWN, licenseId: LICENCE, licenseArn: RESOLVED_ARN, accountId: BUYER, productCode: PRODUCT },
    new Date(at(3)),
  ),
};

const MESSAGES = {
  created: {
    type: 'Purchase Agreement Created - Proposer',
    time: at(0),
    agreement: { intent: 'NEW', status: 'ACTIVE', startTime: at(0), endTime: at(10_000) },
  },
  licensed: { type: 'License Updated - Manufacturer', time: at(1) },
  licensedLater: { type: 'License Updated - Manufacturer', time: at(30) },
  amended: {
    type: 'Purchase Agreement Amended - Proposer',
    time: at(20),
    agreement: { intent: 'AMEND', status: 'ACTIVE', endTime: at(20_000), autoRenewalEnabled: false },
  },
  advised: { type: 'Purchase Agreement Advisory Issued - Manufacturer', time: at(22) },
  renewed: { type: 'Purchase Agreement Ended - Proposer', time: at(25), agreement: { status: 'RENEWED' } },
  rolledBack: { type: 'Purchase Agreement Ended - Manufacturer', time: at(26), agreement: { status: 'ROLLED_BACK' } },
  cancelled: { type: 'Purchase Agreement Ended - Proposer', time: at(40), agreement: { status: 'CANCELLED' } },
  deprovisioned: { type: 'License Deprovisioned - Manufacturer', time: at(41) },
} satisfies Record<string, Told>;
type Step = keyof typeof MESSAGES | 'landing' | 'serves';

async function run(steps: readonly Step[]): Promise<Purchases> {
  const purchases = new Purchases({ mergeTruth: adapter.mergeTruth, acknowledge: (t, c) => adapter.acknowledge(t, c) });
  for (const step of steps) {
    if (step === 'serves') await purchases.serve(LICENCE);
    else if (step === 'landing') purchases.apply(landing);
    else for (const event of normalise(stored(MESSAGES[step]))) purchases.apply(event);
  }
  return purchases;
}
const end = async (...steps: Step[]): Promise<SubscriptionTruth> => (await run(steps)).truths.get(LICENCE)!;

describe('what is known of a licence', () => {
  it('is active once licensed and registered, in either order [AW-06]', async () => {
    expect(await end('landing')).toMatchObject({
      state: 'pending_fulfillment',
      externalOfferId: PRODUCT,
      externalPlanId: 'standard',
      refs: { licenseArn: RESOLVED_ARN, licensed: false },
    });
    expect((await end('landing', 'licensed')).state).toBe('pending_fulfillment');
    expect((await end('landing', 'serves')).state).toBe('pending_fulfillment');
    expect((await end('landing', 'licensed', 'serves')).state).toBe('active');
    expect((await end('landing', 'serves', 'licensed')).state).toBe('active');
  });

  it('keeps the spelling of the landing, whatever events write [AW-05]', async () => {
    for (const steps of [
      ['licensed', 'landing'],
      ['landing', 'licensed'],
    ] as Step[][])
      expect((await end(...steps)).refs).toMatchObject({ licenseArn: RESOLVED_ARN, licensed: true });
    expect((await end('licensed')).refs).toMatchObject({ licenseArn: null });
  });

  it('is not undone by landing again', async () => {
    expect(await end('created', 'licensed', 'landing', 'serves', 'landing')).toMatchObject({
      state: 'active',
      refs: { licensed: true, registered: true },
      aliases: [{ kind: 'agreement', externalId: AGREEMENT }],
    });
  });

  it('has the terms of an agreement that was told before its licence', async () => {
    expect(await end('created', 'licensed')).toMatchObject({
      term: { startsAt: new Date(at(0)), endsAt: new Date(at(10_000)) },
      endsAt: null,
    });
    expect(await end('amended', 'created', 'licensed')).toMatchObject({
      term: { startsAt: new Date(at(0)), endsAt: new Date(at(20_000)) },
      endsAt: new Date(at(20_000)),
    });
  });

  it('ends with the first ending event, whichever comes first [AW-13]', async () => {
    for (const steps of [
      ['licensed', 'cancelled', 'deprovisioned'],
      ['licensed', 'deprovisioned', 'cancelled'],
      ['cancelled', 'deprovisioned', 'licensed'],
    ] as Step[][]) {
      expect(await end(...steps)).toMatchObject({ state: 'ended', endsAt: new Date(at(40)), refs: { endedStatus: 'CANCELLED' } });
    }
    expect(await end('licensed', 'deprovisioned')).toMatchObject({
      state: 'ended',
      refs: { endedStatus: 'DEPROVISIONED', endedAt: at(41) },
    });
  });

  it('does not end by a renewal or a status that is not known [AW-15]', async () => {
    const truth = await end('landing', 'licensed', 'serves', 'renewed', 'rolledBack');
    expect(truth).toMatchObject({ state: 'active', refs: { superseded: { value: 'RENEWED' } } });
    expect((await run(['licensed', 'renewed', 'rolledBack'])).applied.map((e) => e.kind)).toEqual(['purchased', 'superseded', 'noted']);
  });

  it('names what came of a message', async () => {
    const kinds = (
      await run(['licensed', 'landing', 'serves', 'licensedLater', 'created', 'amended', 'advised', 'cancelled', 'licensedLater'])
    ).applied.map((e) => e.kind);
    expect(kinds).toEqual(['purchased', 'purchased', 'activated', 'activated', 'noted', 'renewed', 'noted', 'ended', 'noted']);
    expect((await run(['licensed', 'deprovisioned', 'cancelled'])).applied.at(-1)?.effectiveAt).toEqual(new Date(at(40)));
  });

  it('is scheduled while it starts in the future [AW-20]', async () => {
    const future: Told = { ...MESSAGES.created, agreement: { intent: 'NEW', startTime: at(500) } };
    const purchases = await run(['landing']);
    // Its alias is told by the licence only; the desk of a private offer may link it before.
    purchases.aliases.set(AGREEMENT, LICENCE);
    for (const event of normalise(stored(future))) purchases.apply(event);
    expect(purchases.truths.get(LICENCE)).toMatchObject({ state: 'scheduled', term: { startsAt: new Date(at(500)) } });
    for (const event of normalise(stored(MESSAGES.licensed))) purchases.apply(event);
    expect(purchases.truths.get(LICENCE)).toMatchObject({ state: 'pending_fulfillment' });
  });

  it('is the same whatever the order, and however often each is told [AW-12]', async () => {
    const timeless = (truth: SubscriptionTruth | undefined): unknown => truth && { ...truth, observedAt: null };
    await fc.assert(
      fc.asyncProperty(
        fc
          .subarray([...(Object.keys(MESSAGES) as Step[]), 'landing' as const])
          .chain((set) =>
            fc.tuple(fc.constant(set), fc.shuffledSubarray([...set, ...set], { minLength: set.length * 2, maxLength: set.length * 2 })),
          ),
        async ([set, mixed]) => {
          expect(timeless((await run(mixed)).truths.get(LICENCE))).toEqual(timeless((await run(set)).truths.get(LICENCE)));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('is read from refs, and only from its own', async () => {
    const truth = await end('licensed', 'landing');
    expect(await adapter.readTruth(LICENCE, truth.refs)).toMatchObject({ state: 'pending_fulfillment', externalSubscriptionId: LICENCE });
    expect(await adapter.readTruth(LICENCE)).toBeNull();
    expect(await adapter.readTruth(LICENCE, {})).toBeNull();
    expect(await adapter.readTruth(`${LICENCE.slice(0, -1)}0`, truth.refs)).toBeNull();
    expect(await adapter.readTruth(LICENCE, { ...truth.refs, licensed: 'yes' })).toBeNull();
  });
});

describe('a message', () => {
  const only = (told: Told): FulfillmentEvent => {
    const events = normalise(stored(told));
    expect(events).toHaveLength(1);
    return events[0]!;
  };

  it('of an agreement names it by its alias, of a licence by the licence [AW-11]', () => {
    expect(only(MESSAGES.created)).toMatchObject({
      kind: 'noted',
      externalSubscriptionId: '',
      alias: { kind: 'agreement', externalId: AGREEMENT },
    });
    const licensed = only(MESSAGES.licensed);
    expect(licensed).toMatchObject({
      kind: 'purchased',
      externalSubscriptionId: LICENCE,
      truth: { aliases: [{ kind: 'agreement', externalId: AGREEMENT }], version: at(1) },
    });
    expect(licensed.alias).toBeUndefined();
  });

  it('means the same for proposer and manufacturer [AW-10]', () => {
    for (const role of ['Proposer', 'Manufacturer'])
      expect(only({ ...MESSAGES.cancelled, type: `Purchase Agreement Ended - ${role}` })).toMatchObject({
        kind: 'ended',
        effectiveAt: new Date(at(40)),
      });
  });

  it('that is not known, is for people, or lacks its licence changes nothing [AW-21]', () => {
    const types = [
      'Purchase Agreement Exploded - Proposer',
      'Purchase Agreement Ending - Proposer',
      'Agreement Cancellation Request Approved - Proposer',
      'Purchase Agreement Billing Adjustment Failed - Proposer',
    ];
    for (const type of types) expect(only({ type, time: at(0), detail: { extra: { deep: [1] } } }), type).toMatchObject({ kind: 'noted' });
    expect(only({ ...MESSAGES.licensed, licence: false }).kind).toBe('noted');
    expect(only({ ...MESSAGES.deprovisioned, licence: false }).kind).toBe('noted');
    expect(
      only({ ...MESSAGES.deprovisioned, detail: { license: { arn: 'arn:aws:license-manager::294400000000:license/lic-xxx' } } }).kind,
    ).toBe('noted');
    expect(only({ type: 'Something', time: at(0), detail: { agreement: null } })).toMatchObject({ kind: 'noted', truth: null });
    expect(normalise({ ...stored(MESSAGES.created), body: 'no json' })).toEqual([]);
  });

  it('without a time happened when it was received', () => {
    const message = stored({ ...MESSAGES.licensed, time: at(5) });
    const [event] = normalise({ ...message, body: message.body.replaceAll(at(5), 'yesterday') });
    expect(event?.occurredAt).toEqual(message.receivedAt);
  });

  it('of a renewal tells which agreement it follows', () => {
    const refs = only({ ...MESSAGES.created, agreement: { intent: 'RENEW', previousAgreementId: 'agmt-old' } }).truth?.refs as AwsRefs;
    expect(refs.previousAgreementId).toBe('agmt-old');
  });
});

describe('a licence that follows another one', () => {
  const PREVIOUS = 'agmt-the-one-before';
  const renewal = {
    type: 'Purchase Agreement Created - Proposer',
    time: at(0),
    agreement: { intent: 'RENEW', previousAgreementId: PREVIOUS },
  };
  const after = (...told: Told[]): SubscriptionTruth => {
    const purchases = new Purchases({ mergeTruth: adapter.mergeTruth, acknowledge: (t, c) => adapter.acknowledge(t, c) });
    for (const one of told) for (const event of normalise(stored(one))) purchases.apply(event);
    return purchases.truths.get(LICENCE)!;
  };

  it('names it once it is licensed, whichever is told first', () => {
    for (const told of [
      [renewal, MESSAGES.licensed],
      [MESSAGES.licensed, renewal],
    ])
      expect(after(...told).supersedes).toEqual({ kind: 'agreement', externalId: PREVIOUS });
    expect(after(MESSAGES.licensed).supersedes).toBeNull();
  });

  it('is expected after an end of which no final status is told', () => {
    const { licensed, renewed, cancelled, deprovisioned, rolledBack } = MESSAGES;
    expect(after(licensed).successorExpected).toBe(false);
    for (const told of [[deprovisioned], [renewed, deprovisioned], [deprovisioned, renewed], [rolledBack, deprovisioned]])
      expect(after(licensed, ...told)).toMatchObject({ state: 'ended', successorExpected: true });
    for (const told of [[cancelled], [cancelled, deprovisioned], [deprovisioned, cancelled]])
      expect(after(licensed, ...told)).toMatchObject({ state: 'ended', successorExpected: false });
  });

  it('is spelled like it until a landing tells better, and only for the same buyer and product', async () => {
    const truth = after(renewal, MESSAGES.licensed);
    const known = {
      ...truth.refs,
      licenseId: 'l-00000000000000000000000000000001',
      licenseArn: RESOLVED_ARN.replace(LICENCE, 'l-00000000000000000000000000000001'),
    };
    const given = async (predecessor: object): Promise<unknown> =>
      (await adapter.acknowledge(truth, { tenantId: 't', predecessor: { ...known, ...predecessor } }))?.['derivedArn'] ?? null;
    expect(await given({})).toBe(RESOLVED_ARN);
    expect(await given({ licenseArn: null, derivedArn: known.licenseArn })).toBe(RESOLVED_ARN);
    for (const other of [
      { accountId: '999999999999' },
      { productCode: 'another' },
      { licenseArn: null },
      { licenseArn: 'arn:of:something-else' },
    ])
      expect(await given(other)).toBeNull();
  });
});
