import { describe, expect, it } from 'vitest';
import type { StoredInbound } from '#marketplaces/core';
import { purchaseOf } from './landing.js';
import { instantOf, lastSegment, microsecondsOf } from './liberal.js';
import { notificationOf } from './message.js';
import { normalise } from './normalise.js';
import type { Procurement } from './procurement.js';
import { pulledMessageOf } from './pull.js';
import { type Entitlement, entitlementOf } from './truth.js';

const NOW = new Date('2026-03-08T10:00:00Z');
const ID = 'b8273d26-21f1-4402-bedb-28f351ea9822';
const ACCOUNT = 'eda2a6ce-2e2d-44ff-985f-37e6c51af7d1';
const SERVICE = 'acme-cp.endpoints.acme-public.cloud.goog';
const raw = (change: Record<string, unknown> = {}): Record<string, unknown> => ({
  name: `providers/acme-public/entitlements/${ID}`,
  account: `providers/acme-public/accounts/${ACCOUNT}`,
  provider: 'acme-public',
  product: 'ambiguous',
  productExternalName: SERVICE,
  plan: 'standard',
  newPendingPlan: '',
  state: 'ENTITLEMENT_ACTIVE',
  offerDuration: 'P1Y',
  offerEndTime: '2027-01-01T08:00:00Z',
  usageReportingId: 'project_number:1',
  createTime: '2026-01-01T00:00:00Z',
  updateTime: '2026-01-02T00:00:00.97109Z',
  ...change,
});
const entitlement = (change: Record<string, unknown> = {}): Entitlement => entitlementOf(raw(change), NOW)!;

describe('an entitlement', () => {
  it('is read with what Google leaves out or leaves empty [GC-15]', () => {
    expect(entitlement().truth).toMatchObject({
      marketplace: 'gcp',
      externalSubscriptionId: ID,
      state: 'active',
      externalOfferId: SERVICE,
      externalPlanId: 'standard',
      quantity: null,
      endsAt: null,
      version: '2026-01-02T00:00:00.971090Z',
      term: { unit: 'P1Y', startsAt: null, endsAt: new Date('2027-01-01T08:00:00Z') },
      purchaser: { accountId: ACCOUNT },
      refs: { accountId: ACCOUNT, usageReportingId: 'project_number:1', product: SERVICE, state: 'ENTITLEMENT_ACTIVE' },
    });
    const sparse = entitlementOf(
      { name: ID, product: 'p', plan: 'x', state: 'entitlement_active', account: ACCOUNT, usageReportingId: '' },
      NOW,
    )!;
    expect(sparse).toMatchObject({ accountId: ACCOUNT, truth: { externalOfferId: 'p', version: null, term: { endsAt: null } } });
    expect(sparse.truth.refs).not.toHaveProperty('usageReportingId');
    for (const change of [
      { name: '' },
      { state: 'SOMETHING' },
      { state: 'toString' },
      { plan: '' },
      { product: '', productExternalName: '' },
    ])
      expect(entitlementOf(raw(change), NOW), JSON.stringify(change)).toBeNull();
  });

  it('has the state that its holder may rely on [GC-17]', () => {
    const state = (s: string, change = {}) => entitlement({ state: `ENTITLEMENT_${s}`, ...change }).truth.state;
    expect(
      [
        'ACTIVATION_REQUESTED',
        'ACTIVE',
        'PENDING_CANCELLATION',
        'PENDING_PLAN_CHANGE_APPROVAL',
        'PENDING_PLAN_CHANGE',
        'CANCELLED',
        'SUSPENDED',
      ].map((s) => state(s)),
    ).toEqual(['pending_fulfillment', 'active', 'active', 'active', 'active', 'ended', 'suspended']);
    expect(state('ACTIVATION_REQUESTED', { newOfferStartTime: '2026-04-01T00:00:00Z' })).toBe('scheduled');
    expect(state('ACTIVATION_REQUESTED', { newOfferStartTime: '2026-03-01T00:00:00Z' })).toBe('pending_fulfillment');
    expect(state('PENDING_PLAN_CHANGE', { newOfferStartTime: '2026-04-01T00:00:00Z' })).toBe('active');
  });

  it('has a known end only once it is being cancelled [GC-18]', () => {
    expect(entitlement({ state: 'ENTITLEMENT_PENDING_CANCELLATION' }).truth.endsAt).toEqual(new Date('2027-01-01T08:00:00Z'));
    expect(
      entitlement({ state: 'ENTITLEMENT_PENDING_CANCELLATION', offerEndTime: '', subscriptionEndTime: '2026-06-01T00:00:00Z' }).truth
        .endsAt,
    ).toEqual(new Date('2026-06-01T00:00:00Z'));
  });

  it('is ordered by microseconds [GC-19]', () => {
    const texts = [
      '2026-01-02T00:00:00Z',
      '2026-01-02T00:00:00.1Z',
      '2026-01-02T00:00:00.100001Z',
      '2026-01-02T00:00:00.100002999Z',
      '2026-01-02T01:00:01.5+01:00',
    ];
    const sorted = texts.map(microsecondsOf);
    expect(sorted).toEqual([
      '2026-01-02T00:00:00.000000Z',
      '2026-01-02T00:00:00.100000Z',
      '2026-01-02T00:00:00.100001Z',
      '2026-01-02T00:00:00.100002Z',
      '2026-01-02T00:00:01.500000Z',
    ]);
    expect([...sorted].sort()).toEqual(sorted);
    expect(instantOf('yesterday')).toBeNull();
  });

  it('has its ids in any of the three shapes [GC-16]', () => {
    for (const account of [ACCOUNT, `accounts/${ACCOUNT}`, `providers/acme-public/accounts/${ACCOUNT}`])
      expect(entitlement({ account }), account).toMatchObject({ accountId: ACCOUNT, truth: { purchaser: { accountId: ACCOUNT } } });
    for (const name of [ID, `entitlements/${ID}`, `providers/acme-public/entitlements/${ID}`])
      expect(entitlementOf(raw({ name }), NOW)?.id, name).toBe(ID);
  });

  it('never lets an odd id into an address', () => {
    for (const bad of ['', '../x?y', 'a b', 'a/..', 'a/', '.', 7, null]) expect(lastSegment(bad), String(bad)).toBeNull();
  });

  it('is found for a landing by its order, else as the newest live one of this service', () => {
    const make = (id: string, change = {}) => entitlement({ name: id, ...change });
    const old = make('old', { createTime: '2025-01-01T00:00:00Z', orderId: 'order-7' });
    const other = make('other', { createTime: '2026-03-01T00:00:00Z', productExternalName: 'else' });
    const fresh = make('fresh', { createTime: '2026-02-01T00:00:00Z' });
    const dead = make('dead', { createTime: '2026-03-02T00:00:00Z', state: 'ENTITLEMENT_CANCELLED' });
    const all = [old, other, fresh, dead];
    expect(purchaseOf(all, [], SERVICE)?.id).toBe('fresh');
    expect(purchaseOf(all, ['order-7'], SERVICE)?.id).toBe('old');
    expect(purchaseOf(all, ['dead'], SERVICE)?.id).toBe('dead');
    expect(purchaseOf([other, dead], [], SERVICE)?.id).toBe('other');
    expect(purchaseOf(all, ['unheard-of'], SERVICE), 'an order that is not shown yet is no other one').toBeNull();
    expect(purchaseOf(all, ['unheard-of', 'old'], SERVICE)?.id).toBe('old');
    expect(purchaseOf([dead], [], SERVICE)).toBeNull();
  });
});

describe('a message', () => {
  const told = (eventType: string | undefined, change: Record<string, unknown> = {}): Record<string, unknown> => ({
    eventId: 'e-1',
    ...(eventType ? { eventType } : {}),
    providerId: 'acme-public',
    entitlement: { id: ID, updateTime: '2026-01-01T00:00:00Z' },
    ...change,
  });
  const events = (body: unknown, read: Entitlement | null, more: Partial<Record<'account' | 'entitlementsOf', unknown>> = {}) => {
    const procurement = {
      entitlementWithBuyer: async () => read,
      account: async () => more.account ?? null,
      entitlementsOf: async () => more.entitlementsOf ?? [],
    } as unknown as Procurement;
    const stored: StoredInbound = {
      source: 'gcp.pubsub',
      naturalKey: 'k',
      headers: {},
      body: typeof body === 'string' ? body : JSON.stringify(body),
      receivedAt: NOW,
    };
    return normalise(stored, procurement, 'acme-public');
  };
  const kind = async (type: string, state: string, change = {}) =>
    (await events(told(type), entitlement({ state: `ENTITLEMENT_${state}`, ...change })))[0]!.kind;

  it('means what its type says where the fetched state bears it out [GC-35]', async () => {
    const table: [string, string, string][] = [
      ['ENTITLEMENT_CREATION_REQUESTED', 'ACTIVATION_REQUESTED', 'purchased'],
      ['ENTITLEMENT_OFFER_ACCEPTED', 'ACTIVATION_REQUESTED', 'purchased'],
      ['ENTITLEMENT_ACTIVE', 'ACTIVE', 'activated'],
      ['ENTITLEMENT_PLAN_CHANGED', 'ACTIVE', 'changed'],
      ['ENTITLEMENT_PLAN_CHANGE_CANCELLED', 'ACTIVE', 'change_dropped'],
      ['ENTITLEMENT_PENDING_CANCELLATION', 'PENDING_CANCELLATION', 'end_scheduled'],
      ['ENTITLEMENT_CANCELLATION_REVERTED', 'ACTIVE', 'end_reverted'],
      ['ENTITLEMENT_CANCELLED', 'CANCELLED', 'ended'],
      ['ENTITLEMENT_RENEWED', 'ACTIVE', 'renewed'],
      ['ENTITLEMENT_OFFER_ENDED', 'ACTIVE', 'changed'],
    ];
    for (const [type, state, wanted] of table) expect(await kind(type, state), type).toBe(wanted);
    expect(await kind('ENTITLEMENT_CANCELLING', 'ACTIVE')).toBe('noted');
    expect(await kind('ENTITLEMENT_SOMETHING_NEW', 'ACTIVE')).toBe('noted');
    expect(await kind('constructor', 'ACTIVE')).toBe('noted');
  });

  it('that is late or early changes nothing by itself [GC-34]', async () => {
    expect(await kind('ENTITLEMENT_CANCELLED', 'ACTIVE')).toBe('noted');
    expect(await kind('ENTITLEMENT_ACTIVE', 'CANCELLED')).toBe('noted');
    expect(await kind('ENTITLEMENT_PLAN_CHANGE_REQUESTED', 'ACTIVE')).toBe('noted');
    const [stale] = await events(told('ENTITLEMENT_ACTIVE'), entitlement({ state: 'ENTITLEMENT_CANCELLED' }));
    expect(stale!.truth?.state, 'but what was fetched is folded').toBe('ended');
  });

  it('of a plan change asks for the pending plan, and a new offer on the same plan must be accepted [GC-24]', async () => {
    const pending = (to: string) => entitlement({ state: 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL', newPendingPlan: to });
    const [event] = await events(told('ENTITLEMENT_PLAN_CHANGE_REQUESTED'), pending('premium'));
    expect(event).toMatchObject({
      kind: 'change_requested',
      change: {
        externalOperationId: 'plan:premium:2026-01-02T00:00:00.971090Z',
        kind: 'plan',
        toExternalPlanId: 'premium',
        answerBefore: null,
        requestedByUs: false,
      },
    });
    expect(event!.change).not.toHaveProperty('isRevert');
    expect((await events(told('ENTITLEMENT_PLAN_CHANGE_REQUESTED'), pending('standard')))[0]!.change).toMatchObject({ isRevert: true });
    expect((await events(told('ENTITLEMENT_PLAN_CHANGE_REQUESTED'), pending('')))[0]!.kind).toBe('noted');
  });

  it('of the end tells the instant; of a deleted purchase that its data is due [GC-37]', async () => {
    expect((await events(told('ENTITLEMENT_CANCELLED'), entitlement({ state: 'ENTITLEMENT_CANCELLED' })))[0]).toMatchObject({
      kind: 'ended',
      effectiveAt: new Date('2026-01-02T00:00:00.971Z'),
    });
    expect((await events(told('ENTITLEMENT_CANCELLED'), null))[0]).toMatchObject({
      kind: 'ended',
      truth: null,
      effectiveAt: new Date('2026-01-01T00:00:00Z'),
    });
    expect((await events(told('ENTITLEMENT_DELETED'), null))[0]).toMatchObject({ kind: 'data_deletion_due', truth: null });
    expect((await events(told('ENTITLEMENT_ACTIVE'), null))[0]).toMatchObject({ kind: 'noted', truth: null });
  });

  it('about an account is told of its live purchases, with or without a type [GC-10, GC-32]', async () => {
    const account = { id: ACCOUNT, state: 'ACCOUNT_ACTIVE', approvals: [{ name: 'signup', state: 'PENDING' }] };
    const approved = { ...account, approvals: [{ name: 'signup', state: 'APPROVED' }] };
    const waits = entitlement({ state: 'ENTITLEMENT_ACTIVATION_REQUESTED' });
    for (const type of ['ACCOUNT_ACTIVE', undefined]) {
      const body = told(type, { entitlement: undefined, account: { id: ACCOUNT } });
      const entitlementsOf = [waits, entitlement({ state: 'ENTITLEMENT_CANCELLED' })];
      expect(await events(body, null, { account, entitlementsOf })).toMatchObject([
        { kind: 'noted', externalSubscriptionId: ID, truth: { buyerReady: false } },
      ]);
      expect(await events(body, null, { account: approved, entitlementsOf })).toMatchObject([
        { kind: 'buyer_ready', externalSubscriptionId: ID, truth: { buyerReady: true } },
      ]);
      expect(await events(body, null, { account })).toMatchObject([{ kind: 'noted', externalSubscriptionId: '', truth: null }]);
    }
    const gone = (type: string | undefined) => events(told(type, { entitlement: undefined, account: { id: ACCOUNT } }), null);
    for (const type of ['ACCOUNT_DELETED', undefined])
      expect(await gone(type)).toMatchObject([{ kind: 'data_deletion_due', externalSubscriptionId: '', buyerAccountId: ACCOUNT }]);
    expect(await gone('ACCOUNT_ACTIVE')).toMatchObject([{ kind: 'noted', externalSubscriptionId: '' }]);
    expect(
      await events(told('ACCOUNT_DELETED', { entitlement: undefined, account: { id: ACCOUNT } }), null, {
        account,
        entitlementsOf: [waits],
      }),
      'but the account is there',
    ).toMatchObject([{ kind: 'noted' }]);
  });

  it('that cannot be read is noted, never lost [GC-36]', async () => {
    for (const body of [
      '',
      'x',
      '[]',
      'null',
      {},
      told('ENTITLEMENT_ACTIVE', { entitlement: { id: '../x?' } }),
      told('ENTITLEMENT_ACTIVE', { providerId: 'somebody-else' }),
    ])
      expect(
        (await events(body, entitlement())).map((e) => e.kind),
        JSON.stringify(body),
      ).toEqual(['noted']);
  });

  it('is kept with a key of its type: one event id may stand on three messages [GC-33]', () => {
    const pulled = (data: string | Uint8Array) =>
      pulledMessageOf(
        typeof data === 'string' ? Buffer.from(data) : data,
        { messageId: '1', publishedAt: 't' },
        { projectId: 'acme', subscription: 'projects/acme/subscriptions/sub' },
      );
    const text = JSON.stringify(told('ENTITLEMENT_ACTIVE'));
    expect(pulled(text)).toEqual({
      source: 'gcp.pubsub',
      naturalKey: 'acme-public|ENTITLEMENT_ACTIVE|e-1',
      headers: { 'pubsub-message-id': '1', 'pubsub-publish-time': 't' },
      body: text,
      principal: 'pubsub:projects/acme/subscriptions/sub',
      externalSubscriptionId: ID,
    });
    expect(pulled(JSON.stringify(told(undefined, { entitlement: undefined, account: { id: ACCOUNT } })))).toMatchObject({
      naturalKey: 'acme-public|account|e-1',
      externalSubscriptionId: null,
    });
    const bytes = new Uint8Array([0xff, 0x00, 0x7b]);
    expect(pulled(bytes)).toMatchObject({
      naturalKey: expect.stringMatching(/^sha256:/),
      body: '{"undecodable":"/wB7"}',
      externalSubscriptionId: null,
    });
    expect(pulled('{"a":"\0"}').body).not.toContain('\0');
    expect(pulled('no json').body).toBe('no json');
    expect(notificationOf('[]')).toBeNull();
  });
});
