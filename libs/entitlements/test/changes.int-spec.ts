import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RequestedChange, SubscriptionTruth } from '#marketplaces/core';
import { subscriptionIdOf, type ChangeDecision, type ServedAt } from '../src/index.js';
import { eventOf, truthOf } from '../src/testing/index.js';
import { Rig } from './rig.js';

describe('the decision on a requested change', () => {
  let rig: Rig;
  let id: string;
  let truth: SubscriptionTruth;
  beforeAll(async () => {
    rig = await Rig.open();
  });
  afterAll(() => rig?.close());
  beforeEach(() => {
    id = randomUUID();
    rig.at('10:00');
  });

  const buy = async (plan: string, quantity: number | null = null): Promise<void> => {
    truth = truthOf({ externalSubscriptionId: id, externalPlanId: plan, quantity });
    await rig.apply(eventOf(truth));
    await rig.bind(id);
    truth = { ...truth, state: 'active' };
    await rig.apply(eventOf(truth));
  };
  /** As a placement tells it at this moment. */
  const stored = (bytes: number): ServedAt => ({
    region: 'local-1',
    shape: null,
    stored: { bytes: BigInt(bytes), at: rig.clock.now() },
  });
  const decide = async (change: Partial<RequestedChange>, servedAt?: ServedAt): Promise<ChangeDecision> =>
    (await decideOrWait(change, servedAt))!;
  const decideOrWait = (change: Partial<RequestedChange>, servedAt: ServedAt | null = null): Promise<ChangeDecision | null> =>
    rig.db.ops((tx) =>
      rig.changes.decide(
        tx,
        truth,
        {
          externalOperationId: randomUUID(),
          kind: change.toQuantity ? 'quantity' : 'plan',
          toExternalPlanId: null,
          toQuantity: null,
          answerBefore: null,
          requestedByUs: false,
          ...change,
        },
        servedAt,
      ),
    );

  it('is yes to an offered plan that measures what is in use and holds what is stored', async () => {
    await buy('standard');
    expect(await decide({ toExternalPlanId: 'premium' }, stored(900))).toMatchObject({ accept: true, reason: undefined });
  });

  it('is the stored one for a repeat, even when it would be another by now', async () => {
    await buy('premium');
    const externalOperationId = randomUUID();
    const first = await decide({ externalOperationId, toExternalPlanId: 'standard' });
    expect(first.accept).toBe(true);
    expect(await decide({ externalOperationId, toExternalPlanId: 'standard' }, stored(4_000))).toEqual(first);
    expect((await decide({ toExternalPlanId: 'standard' }, stored(4_000))).accept).toBe(false);
  });

  it('is one and the same for two deliveries at once', async () => {
    await buy('standard');
    const externalOperationId = randomUUID();
    const both = await Promise.all([1, 2, 3].map(() => decide({ externalOperationId, toExternalPlanId: 'premium' })));
    expect(new Set(both.map((d) => d.changeRequestId)).size).toBe(1);
  });

  it('is no to a plan that is not offered, where the marketplace would soon say yes by itself', async () => {
    await buy('standard');
    const answerBefore = new Date(rig.clock.now().getTime() + 10_000);
    expect(await decide({ toExternalPlanId: 'mystery', answerBefore })).toMatchObject({
      accept: false,
      reason: 'Plan mystery is not offered.',
      unmappedPlan: 'mystery',
    });
  });

  it('waits for a plan that is not in the catalog yet, where the marketplace waits too', async () => {
    await buy('standard');
    const externalOperationId = randomUUID();
    expect(await decideOrWait({ externalOperationId, toExternalPlanId: 'mystery' })).toBeNull();
    expect(await decideOrWait({ externalOperationId, toExternalPlanId: 'premium' }), 'nothing was stored').toMatchObject({ accept: true });
  });

  it('keeps what was in force, for a refusal that has to be undone later', async () => {
    await buy('seats', 5);
    const { changeRequestId } = await decide({ kind: 'quantity', toQuantity: 0 });
    expect(
      await rig.db.ops((tx) =>
        tx.query('select from_external_plan_id, from_quantity from change_requests where change_request_id = $1', [changeRequestId]),
      ),
    ).toEqual([{ from_external_plan_id: 'seats', from_quantity: 5 }]);
  });

  it('is dropped when it will not come: withdrawn there, or overtaken by a newer one of its kind', async () => {
    await buy('seats', 5);
    const states = (): Promise<{ to_quantity: number; state: string }[]> =>
      rig.db.ops((tx) =>
        tx.query('select to_quantity, state from change_requests where subscription_id = $1 order by created_at', [
          subscriptionIdOf('azure', id),
        ]),
      );
    const [first, second, third] = [randomUUID(), randomUUID(), randomUUID()];
    await decide({ externalOperationId: first, toQuantity: 6 });
    rig.at('10:01');
    await decide({ externalOperationId: second, toQuantity: 7 });
    rig.at('10:02');
    await decide({ externalOperationId: third, toQuantity: 8 });
    const change = { kind: 'quantity', toExternalPlanId: null, toQuantity: 8, answerBefore: null, requestedByUs: false } as const;
    await rig.apply(eventOf(truth, { kind: 'change_dropped', change: { ...change, externalOperationId: third } }));
    expect((await states()).map((s) => s.state)).toEqual(['accepted', 'accepted', 'dropped']);
    truth = { ...truth, quantity: 7 };
    await rig.apply(eventOf(truth));
    expect(await states()).toEqual([
      { to_quantity: 6, state: 'dropped' },
      { to_quantity: 7, state: 'applied' },
      { to_quantity: 8, state: 'dropped' },
    ]);
  });

  it('is no to a plan that lacks a meter in use, by its name', async () => {
    await buy('standard');
    expect(await decide({ toExternalPlanId: 'narrow' })).toMatchObject({ accept: false, reason: expect.stringContaining('mib_egress') });
  });

  it('is no where more is stored than the plan allows, to the byte', async () => {
    await buy('premium');
    expect(await decide({ toExternalPlanId: 'standard' }, stored(1_001))).toMatchObject({
      accept: false,
      reason: expect.stringContaining('More is stored'),
    });
    expect((await decide({ toExternalPlanId: 'standard' }, stored(1_000))).accept).toBe(true);
  });

  it('is no to less where nobody has told for an hour how much is stored, and yes where nothing was ever told', async () => {
    await buy('premium');
    const told = stored(1_000);
    rig.at('11:00');
    expect((await decide({ toExternalPlanId: 'standard' }, told)).accept).toBe(true);
    rig.at('11:01');
    const refusal = await rig.db.ops((tx) =>
      rig.changes.refusal(tx, subscriptionIdOf('azure', id), truth, { kind: 'plan', toExternalPlanId: 'standard', toQuantity: null }, told),
    );
    expect(refusal).toEqual({ code: 'change.stored_unknown', reason: expect.stringContaining('has not been told since 2030-05-01T10:00') });
    expect((await decide({ toExternalPlanId: 'standard' }, { ...told, stored: null })).accept).toBe(true);
    expect((await decide({ toExternalPlanId: 'standard' })).accept).toBe(true);
  });

  it('is yes to more than now, however much is stored and however long nobody has told', async () => {
    await buy('standard');
    const told = stored(1_000_000);
    rig.at('14:00');
    expect((await decide({ toExternalPlanId: 'premium' }, told)).accept).toBe(true);
  });

  it('is no to fewer units than hold what is stored, and to none at all', async () => {
    await buy('seats', 5);
    expect((await decide({ toQuantity: 3 }, stored(301))).accept).toBe(false);
    expect((await decide({ toQuantity: 4 }, stored(301))).accept).toBe(true);
    expect(await decide({ kind: 'quantity', toQuantity: 0 })).toMatchObject({
      accept: false,
      reason: expect.stringContaining('at least 1'),
    });
  });

  it('is no to a plan that what serves the purchase cannot take: other capacity, another region', async () => {
    await buy('standard');
    const here = { region: 'local-1', shape: 'shared-small' };
    expect((await decide({ toExternalPlanId: 'premium' }, here)).accept).toBe(true);
    expect((await decide({ toExternalPlanId: 'premium' }, { ...here, shape: 'dedicated' })).reason).toContain('other capacity');
    expect((await decide({ toExternalPlanId: 'island' }, here)).reason).toContain('not offered in region local-1');
    for (const [plan, why] of [
      ['alone', 'a cluster of its own'],
      ['bound', 'other identity providers (ldap, oidc)'],
    ] as const) {
      expect((await decide({ toExternalPlanId: plan }, here)).reason).toContain(why);
      expect((await decide({ toExternalPlanId: plan }, { ...here, shape: null })).accept).toBe(true);
    }
    // Nothing is set up yet: what will be, is by the plan of then.
    expect((await decide({ toExternalPlanId: 'premium' }, { ...here, shape: null })).accept).toBe(true);
    expect((await decide({ toExternalPlanId: 'island' }, { ...here, shape: null })).accept).toBe(false);
    // What has become of the version that was bought does not bind a change of units, nor a revert.
    expect((await decide({ toExternalPlanId: 'standard' }, { region: 'local-2', shape: 'dedicated' })).accept).toBe(true);
  });

  it('is no to fewer or more units than the plan is sold with', async () => {
    await buy('crew', 5);
    expect((await decide({ toQuantity: 2 })).accept).toBe(true);
    expect((await decide({ toQuantity: 1 })).reason).toBe('Plan crew is sold with 2 to 10 units.');
    expect((await decide({ toQuantity: 10 })).accept).toBe(true);
    expect((await decide({ toQuantity: 11 })).accept).toBe(false);
    await rig.apply(eventOf({ ...truth, externalPlanId: 'seats', quantity: 50, version: '2031-01-01T00:00:00Z' }));
    expect((await decide({ toExternalPlanId: 'crew' })).accept).toBe(false);
  });

  it('is yes to a revert, which names what the buyer already has', async () => {
    await buy('seats', 2);
    const full = stored(5_000);
    expect((await decide({ toExternalPlanId: 'seats' }, full)).accept).toBe(true);
    expect((await decide({ toQuantity: 2 }, full)).accept).toBe(true);
    expect((await decide({ toExternalPlanId: 'mystery', isRevert: true }, full)).accept).toBe(true);
  });

  it('is no for a purchase that is not active or not known', async () => {
    await buy('standard');
    await rig.apply(eventOf({ ...truth, state: 'suspended' }));
    expect(await decide({ toExternalPlanId: 'premium' })).toMatchObject({
      accept: false,
      reason: 'A suspended subscription cannot be changed.',
    });
    truth = { ...truth, externalSubscriptionId: randomUUID() };
    expect(await decide({ toExternalPlanId: 'premium' })).toMatchObject({ accept: false, reason: expect.stringContaining('not known') });
  });

  it('measures more units by the version that was bought, not by a newer one', async () => {
    await buy('seats', 2);
    const plan = (await rig.db.ops((tx) => rig.catalog.latest(tx, 'azure', 'tide-cells', 'seats')))!;
    await rig.db.ops((tx) =>
      rig.catalog.load(tx, [
        { ...plan, quotas: [{ ...plan.quotas[0]!, hardLimit: '10' }], contentHash: 'another', planVersionId: randomUUID() },
      ]),
    );
    expect((await decide({ toQuantity: 3 }, stored(250))).accept).toBe(true);
  });
});
