import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lockWaiters } from '#platform/testing';
import type { SubscriptionTruth } from '#marketplaces/core';
import { eventOf, truthOf } from '../src/testing/index.js';
import { subscriptionIdOf, type TakeOver } from '../src/index.js';
import { expectUnbroken, Rig, told } from './rig.js';

/** A renewal that is a purchase of its own takes the place of the one that it names. */
describe('a renewal', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.open();
    rig.tasks.subscribe('subscription.succession_due', 'succession_due');
    rig.tasks.subscribe('subscription.superseded', 'superseded');
    rig.tasks.subscribe('subscription.started', 'started');
  });
  afterAll(() => rig?.close());

  const BUYER = { email: null, personId: null, directoryId: null, accountId: '111122223333' };
  const pair = () => {
    const [old, next, agreement] = [randomUUID(), randomUUID(), `agmt-${randomUUID()}`];
    const oldTruth = (over: Partial<SubscriptionTruth> = {}): SubscriptionTruth =>
      truthOf({ externalSubscriptionId: old, aliases: [{ kind: 'agreement', externalId: agreement }], purchaser: BUYER, ...over });
    const nextTruth = (over: Partial<SubscriptionTruth> = {}): SubscriptionTruth =>
      truthOf({ externalSubscriptionId: next, purchaser: BUYER, supersedes: { kind: 'agreement', externalId: agreement }, ...over });
    return { old, next, oldTruth, nextTruth };
  };
  const starting = (time: string): SubscriptionTruth['term'] => ({
    unit: null,
    startsAt: new Date(`2030-05-01T${time}:00Z`),
    endsAt: null,
  });
  const takeOver = (next: string, notBefore: Date | null = null): Promise<TakeOver> =>
    rig.db.ops((tx) => rig.subscriptions.takeOver(tx, subscriptionIdOf('azure', next), notBefore));
  const serving = async (p: ReturnType<typeof pair>): Promise<string> => {
    rig.at('10:00');
    await rig.apply(eventOf(p.oldTruth({ state: 'active' })));
    return rig.bind(p.old);
  };

  it('takes over tenant and rights at its start: the old one ends there, its own counting begins there', async () => {
    const p = pair();
    const tenant = await serving(p);
    const at = rig.at('10:30');
    await rig.apply(eventOf(p.nextTruth({ externalPlanId: 'premium', term: starting('10:20') }), { occurredAt: at }));
    expect(await rig.published(p.next)).toEqual(['succession_due']);
    expect(await takeOver(p.next)).toMatchObject({ result: 'taken', tenantId: tenant, at: new Date('2030-05-01T10:20:00Z') });
    await rig.apply(
      eventOf(p.nextTruth({ state: 'active', externalPlanId: 'premium', term: starting('10:20') }), {
        occurredAt: new Date('2030-05-01T10:20:00Z'),
      }),
    );
    const nextId = subscriptionIdOf('azure', p.next);
    expect(await rig.get(p.old)).toMatchObject({ state: 'closing', supersededBy: nextId, endedAt: new Date('2030-05-01T10:20:00Z') });
    expect(await rig.get(p.next)).toMatchObject({ state: 'active', tenantId: tenant });
    expect(told(await rig.segments(p.old))).toEqual(['10:00–10:20 activated standard']);
    expect(told(await rig.segments(p.next))).toEqual(['10:20– activated premium']);
    expectUnbroken(await rig.segments(p.old));
    const live = (rights: { what: string; value: string; from: string; until: string | null }[]): unknown =>
      rights.filter((r) => r.what === 'storage_bytes').map((r) => [r.value, r.from, r.until]);
    expect(live(await rig.rights(p.old))).toEqual([['1000', '10:00', '10:20']]);
    expect(live(await rig.rights(p.next))).toEqual([['5000', '10:20', null]]);
    // Access of the old one goes on under the new one: nothing told that it ended.
    expect(await rig.published(p.old)).toEqual(expect.arrayContaining(['superseded']));
    expect(await rig.published(p.old)).not.toContain('ended');
    expect(await takeOver(p.next)).toMatchObject({ result: 'none' });
  });

  it('is found by whichever of the two is told last', async () => {
    const p = pair();
    rig.at('10:00');
    await rig.apply(eventOf(p.nextTruth()));
    expect(await takeOver(p.next)).toMatchObject({ result: 'none', why: 'its predecessor is not known' });
    await rig.apply(eventOf(p.oldTruth()));
    expect(await rig.published(p.next)).toEqual(['succession_due', 'succession_due']);
  });

  it('leaves what is reported already where it was reported', async () => {
    const p = pair();
    await serving(p);
    rig.at('13:10');
    await rig.apply(eventOf(p.nextTruth({ term: starting('10:20') })));
    expect(await takeOver(p.next, new Date('2030-05-01T12:00:00Z'))).toMatchObject({
      result: 'taken',
      at: new Date('2030-05-01T12:00:00Z'),
    });
  });

  it('waits for its start', async () => {
    const p = pair();
    await serving(p);
    rig.at('10:30');
    await rig.apply(eventOf(p.nextTruth({ term: starting('11:00') })));
    expect(await takeOver(p.next)).toEqual({ result: 'waits', until: new Date('2030-05-01T11:00:00Z') });
    expect(await rig.get(p.old)).toMatchObject({ state: 'active', supersededBy: null });
  });

  it("begins where the old one had ended already, and leaves the old one's end where it was", async () => {
    const p = pair();
    const tenant = await serving(p);
    rig.at('10:40');
    await rig.apply(eventOf(p.oldTruth({ state: 'ended', successorExpected: true }), { occurredAt: new Date('2030-05-01T10:25:00Z') }));
    rig.at('11:05');
    await rig.apply(eventOf(p.nextTruth({ term: starting('10:20') })));
    expect(await takeOver(p.next, new Date('2030-05-01T11:00:00Z'))).toMatchObject({
      result: 'taken',
      tenantId: tenant,
      at: new Date('2030-05-01T10:25:00Z'),
    });
    expect(told(await rig.segments(p.old))).toEqual(['10:00–10:25 activated standard']);
  });

  it('does not get the place of another buyer, of a purchase that another renewal has taken, or a second one', async () => {
    const foreign = pair();
    await serving(foreign);
    await rig.apply(eventOf(foreign.nextTruth({ purchaser: { ...BUYER, accountId: '999900001111' } })));
    expect(await takeOver(foreign.next)).toEqual({ result: 'none', why: 'the predecessor is of another buyer' });

    const twice = pair();
    await serving(twice);
    const other = randomUUID();
    await rig.apply(eventOf(twice.nextTruth()));
    await rig.apply(eventOf(twice.nextTruth({ externalSubscriptionId: other })));
    expect(await takeOver(twice.next)).toMatchObject({ result: 'taken' });
    expect(await takeOver(other)).toEqual({ result: 'none', why: 'another purchase has taken its place' });

    const settled = pair();
    await serving(settled);
    await rig.apply(eventOf(settled.nextTruth()));
    await rig.bind(settled.next);
    expect(await takeOver(settled.next)).toMatchObject({ result: 'none' });
    expect(await rig.get(settled.old)).toMatchObject({ state: 'active', supersededBy: null });
  });

  it('gets the landing of a purchase that had no tenant yet, so that the tenant is its own', async () => {
    const p = pair();
    rig.at('10:00');
    await rig.apply(eventOf(p.oldTruth()));
    const [oldId, nextId] = [subscriptionIdOf('azure', p.old), subscriptionIdOf('azure', p.next)];
    const session = await rig.db.ops((tx) => rig.landings.open(tx, { marketplace: 'azure', token: p.old, subscriptionId: oldId }));
    await rig.apply(eventOf(p.nextTruth()));
    expect(await takeOver(p.next)).toMatchObject({ result: 'taken', tenantId: null });
    expect(await rig.get(p.old)).toMatchObject({ state: 'voided', supersededBy: nextId });
    const plan = await rig.db.ops(async (tx) => rig.catalog.get(tx, (await rig.subscriptions.get(tx, nextId)).planVersionId!));
    const details = {
      organisation: 'Winter & Co',
      region: plan.regions[0]!.id,
      contactName: 'Ada Winter',
      contactEmail: 'ada@winter.example',
    };
    const done = await rig.db.ops((tx) => rig.landings.complete(tx, session, details));
    expect(done.subscriptionId).toBe(nextId);
    expect((await rig.get(p.next)).tenantId).toBe(done.tenantId);
    expect((await rig.get(p.old)).tenantId).toBeNull();
    await expect(rig.bind(p.old)).rejects.toThrow('subscription.over');
    expect(await rig.db.ops((tx) => rig.subscriptions.successorOf(tx, oldId))).toBe(nextId);
  });

  it('of a renewal that never had a tenant goes back to the one that has', async () => {
    const p = pair();
    const tenant = await serving(p);
    rig.at('10:10');
    const second = `agmt-${randomUUID()}`;
    await rig.apply(eventOf(p.nextTruth({ aliases: [{ kind: 'agreement', externalId: second }] })));
    const third = randomUUID();
    await rig.apply(eventOf(p.nextTruth({ externalSubscriptionId: third, supersedes: { kind: 'agreement', externalId: second } })));
    expect(await takeOver(third)).toMatchObject({ result: 'taken', tenantId: tenant });
    expect(await takeOver(p.next)).toMatchObject({ result: 'none' });
    expect([(await rig.get(p.old)).supersededBy, (await rig.get(p.next)).supersededBy]).toEqual([
      subscriptionIdOf('azure', p.next),
      subscriptionIdOf('azure', third),
    ]);
  });

  it('takes the place over a link of which nothing but its end was told: the chain told of the newest names whom that one followed', async () => {
    const p = pair();
    const tenant = await serving(p);
    const [link, newest] = [randomUUID(), randomUUID()];
    const id = (externalId: string) => ({ kind: 'agreement', externalId });
    const ended = { aliases: [id(link)], purchaser: BUYER, state: 'ended' as const, endsAt: rig.at('10:20') };
    await rig.apply(eventOf(truthOf({ externalSubscriptionId: link, ...ended }), { kind: 'ended' }));
    const follows = [id(link), p.oldTruth().aliases[0]!];
    await rig.apply(eventOf(truthOf({ externalSubscriptionId: newest, purchaser: BUYER, supersedes: id(link), follows })));
    expect(await takeOver(newest)).toMatchObject({ result: 'taken', tenantId: tenant, predecessorId: subscriptionIdOf('azure', p.old) });
    expect(await rig.get(p.old)).toMatchObject({ supersededBy: subscriptionIdOf('azure', link) });
    expect(await rig.get(link)).toMatchObject({ supersededBy: subscriptionIdOf('azure', newest) });
  });

  it('is visited as the purchase that serves its buyer meanwhile, also over a link that nobody knows; then as itself [AW-50]', async () => {
    const p = pair();
    await serving(p);
    const ids = (...names: string[]) => names.map((externalId) => ({ kind: 'agreement', externalId }));
    const first = p.oldTruth().aliases[0]!.externalId;
    const landed = { supersedes: null, follows: ids('agmt-unheard-of', first) };
    await rig.apply(eventOf(p.nextTruth(landed)));
    const [oldId, nextId] = [p.old, p.next].map((id) => subscriptionIdOf('azure', id));
    const visited = (id: string): Promise<string> => rig.db.ops((tx) => rig.subscriptions.visitedAs(tx, id));
    expect(await visited(nextId!)).toBe(oldId);
    // Never by what another buyer bought, and not where nothing links the two.
    const other = { ...BUYER, accountId: '444455556666' };
    for (const [over, why] of [
      [{ ...landed, purchaser: other }, 'another buyer'],
      [{ supersedes: null }, 'the same buyer alone'],
    ] as const) {
      const externalSubscriptionId = randomUUID();
      await rig.apply(eventOf(p.nextTruth({ ...over, externalSubscriptionId })));
      const id = subscriptionIdOf('azure', externalSubscriptionId);
      expect(await visited(id), why).toBe(id);
    }
    await rig.apply(eventOf(p.nextTruth({ follows: landed.follows })));
    expect(await takeOver(p.next)).toMatchObject({ result: 'taken' });
    for (const id of [oldId!, nextId!]) expect(await visited(id)).toBe(nextId);
  });

  it('of a renewal that takes over at the same moment gets the place from that one, which has it [AW-48]', async () => {
    const p = pair();
    await serving(p);
    rig.at('10:10');
    const second = `agmt-${randomUUID()}`;
    await rig.apply(eventOf(p.nextTruth({ aliases: [{ kind: 'agreement', externalId: second }] })));
    const third = randomUUID();
    await rig.apply(eventOf(p.nextTruth({ externalSubscriptionId: third, supersedes: { kind: 'agreement', externalId: second } })));
    let commit = (): void => undefined;
    const mayCommit = new Promise<void>((resolve) => (commit = resolve));
    let taken = (): void => undefined;
    const isTaken = new Promise<void>((resolve) => (taken = resolve));
    const first = rig.db.ops(async (tx) => {
      await rig.subscriptions.takeOver(tx, subscriptionIdOf('azure', p.next), null);
      taken();
      await mayCommit;
    });
    await isTaken;
    const last = takeOver(third);
    const waits = async (): Promise<boolean> => (await lockWaiters(rig.db)) > 0;
    for (let i = 0; !(await waits()); i++) if (i > 200) throw new Error('nobody waits for the lock');
    commit();
    await first;
    expect(await last).toMatchObject({ result: 'taken', predecessorId: subscriptionIdOf('azure', p.next) });
  });

  it('that is no longer expected is told, so that access ends', async () => {
    const p = pair();
    await serving(p);
    rig.at('10:10');
    await rig.apply(eventOf(p.oldTruth({ state: 'ended', successorExpected: true })));
    await rig.apply(eventOf(p.oldTruth({ state: 'ended', successorExpected: true })));
    const ends = async (): Promise<number> => (await rig.published(p.old)).filter((n) => n === 'ended').length;
    expect(await ends()).toBe(1);
    await rig.apply(eventOf(p.oldTruth({ state: 'ended', successorExpected: false })));
    expect(await ends()).toBe(2);
  });
});

describe('a future start', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.open();
    rig.tasks.subscribe('subscription.started', 'started');
  });
  afterAll(() => rig?.close());

  it('lets what waited for it begin, whether the news of the day is that it is due or that it serves', async () => {
    for (const [state, ours] of [
      ['pending_fulfillment', 'pending_fulfillment'],
      ['active', 'active'],
    ] as const) {
      const id = randomUUID();
      rig.at('10:00');
      await rig.apply(eventOf(truthOf({ externalSubscriptionId: id, state: 'scheduled' })));
      await rig.bind(id);
      expect(await rig.published(id)).not.toContain('started');
      rig.at('11:00');
      await rig.apply(eventOf(truthOf({ externalSubscriptionId: id, state })));
      expect(await rig.get(id)).toMatchObject({ state: ours });
      expect((await rig.published(id)).filter((n) => n === 'started')).toHaveLength(1);
    }
  });
});
