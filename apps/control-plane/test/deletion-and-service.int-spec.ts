import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  MarketplaceBusy,
  MarketplaceRefusal,
  type FulfillmentEvent,
  type ServiceVerdict,
  type SubscriptionTruth,
} from '#marketplaces/core';
import { pseudonymOf } from '#entitlements';
import { applyEvent } from '../src/processes/normalise-inbound.js';
import { sweepLostSteps } from '../src/processes/sweep-lost-steps.js';
import { Flows } from './support/flows.js';

const MINUTE = 60_000;
const BUYER = {
  email: 'ada@winter.example',
  personId: '1098765432109',
  directoryId: null,
  accountId: 'eda2a6ce-2e2d-44ff-985f-37e6c51af7d1',
};

describe('what a marketplace tells beside the purchase itself', () => {
  let flows: Flows;
  beforeEach(async () => {
    flows = await Flows.open();
  });
  afterEach(() => flows.close());

  const tell = (externalId: string, change: Partial<FulfillmentEvent>): Promise<unknown> =>
    flows.db.ops((tx) =>
      applyEvent(
        flows.p,
        tx,
        {
          kind: 'changed',
          marketplace: 'azure',
          externalSubscriptionId: externalId,
          occurredAt: flows.clock.now(),
          truth: null,
          note: 'a test',
          ...change,
        },
        null,
      ),
    );
  const truthOf = async (externalId: string): Promise<SubscriptionTruth> => (await flows.market.readTruth(externalId))!;
  const one = async <T extends object>(sql: string, id: string): Promise<T> => (await flows.rows<T>(sql, [id]))[0]!;
  const purchase = (id: string): Promise<Record<string, unknown>> => one('select * from subscriptions where subscription_id = $1', id);

  /** Every text of every table, as a thief of the database would read it. */
  async function wholeDatabase(): Promise<string> {
    const tables = await flows.rows<{ name: string }>(
      `select c.relname as name from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
         and has_table_privilege(c.oid, 'select')`,
    );
    const texts: string[] = [];
    for (const { name } of tables) texts.push(JSON.stringify(await flows.rows(`select to_jsonb(t) as row from "${name}" t`)));
    expect(texts.length).toBeGreaterThan(20);
    return texts.join('\n');
  }

  it('deletes what is kept of a buyer whose purchase was deleted there, but not what proves the bill [GC-38]', async () => {
    const { externalId, id } = await flows.serve('Winter Observatory', { beneficiary: BUYER });
    const kept = await flows.serve('Tide Archive');
    await flows.db.ops((tx) =>
      flows.p.metering.raiseFinding(tx, { kind: 'clock_skew', dedupeKey: 'kept', subscriptionId: id, evidence: { hours: 3 } }),
    );
    // What came from outside and what was sent there may name him too.
    const account = JSON.stringify({ eventId: 'e-1', account: { id: BUYER.accountId } });
    await flows.db.ops((tx) =>
      flows.p.inbox.receive(tx, {
        source: 'gcp.pubsub',
        naturalKey: 'provider|account|e-1',
        contentType: 'application/json',
        headers: {},
        body: account,
        principal: 'a test',
      }),
    );
    await flows.p.calls.around(
      { target: 'azure', operation: 'acknowledge', subject: `subscription:${id}`, subscriptionId: id, intent: { buyer: BUYER.accountId } },
      () => Promise.resolve({ answered: BUYER.personId }),
    );
    const before = await purchase(id);
    // The contact is sealed; slug and display name of the tenant are not.
    const personal = [BUYER.email, BUYER.accountId, BUYER.personId, 'Winter Observatory', 'winter-observatory'];
    for (const text of personal) expect(await wholeDatabase(), text).toContain(text);

    const [where] = await flows.rows<{ name: string; placement_id: string }>(
      'select c.name, p.placement_id from placements p join clusters c using (cluster_id) where subscription_id = $1',
      [id],
    );
    flows.driver.write(where!.name, where!.placement_id, 'a', 'kept');
    flows.market.forget(externalId);
    await tell(externalId, { kind: 'data_deletion_due' });
    await flows.settle();
    expect(await purchase(id), 'gone there is the end; the hours are still to be settled').toMatchObject({
      state: 'closing',
      erased_at: null,
    });
    expect(await wholeDatabase()).toContain('Winter Observatory');
    // The last sample comes from a cell, which this test has none of.
    await flows.db.ops(async (tx) => {
      await tx.query(`update placements set phase = 'ended', access_ended_at = $2 where subscription_id = $1`, [id, flows.clock.now()]);
      await flows.p.subscriptions.settle(tx, id);
    });
    await flows.settle(30 * MINUTE);

    expect(await purchase(id)).toMatchObject({
      state: 'cancelled',
      erased_at: expect.any(Date),
      buyer_account_id: pseudonymOf(id),
      name: null,
    });
    const tenant = await one<Record<string, unknown>>('select * from tenants where tenant_id = $1', String(before['tenant_id']));
    expect(tenant).toMatchObject({
      contact: null,
      state: 'closed',
      display_name: expect.stringMatching(/^gone-/),
      slug: tenant['display_name'],
    });
    const [placement] = await flows.rows<{ desired: { state: string } }>('select desired from placements where subscription_id = $1', [id]);
    expect(placement!.desired.state).toBe('purged');
    // Nobody asks whether it was taken along: it has to go, and that is written down.
    const checks = await flows.rows('select state, decided_by from export_checks where subscription_id = $1 order by position desc', [id]);
    expect(checks[0]).toEqual({ state: 'waived', decided_by: 'control plane' });
    const after = await wholeDatabase();
    for (const text of personal) expect(after, text).not.toContain(text);
    expect(after, 'the other buyer is untouched').toContain('Tide Archive');
    expect(await flows.state(kept.id)).toBe('active');
    const evidence = await flows.rows('select 1 from findings where subscription_id = $1', [id]);
    const segments = await flows.rows('select 1 from segments where subscription_id = $1 and tenant_id = $2', [id, before['tenant_id']]);
    expect([evidence.length, segments.length]).toEqual([1, 1]);

    const again = await tell(externalId, { kind: 'ended' });
    expect(again).toMatchObject({ result: 'unchanged', why: 'the data of this purchase was deleted' });
  });

  it('never ends what is gone without a word, and keeps nothing of what it never knew [GC-37]', async () => {
    const { externalId, id } = await flows.serve();
    expect(await tell(externalId, { kind: 'changed' })).toMatchObject({ result: 'parked', code: 'gone' });
    expect(await flows.state(id)).toBe('active');
    expect(await tell('never-heard-of', { kind: 'data_deletion_due' })).toMatchObject({ result: 'unchanged', subscriptionId: null });
    expect(await tell('never-heard-of', { kind: 'ended' })).toMatchObject({ result: 'parked', code: 'gone' });
  });

  it('serves a second purchase of a buyer who has signed up, under the name he gave, without a landing [GC-55]', async () => {
    const first = await flows.serve('Kelp Works', { beneficiary: BUYER });
    const bought = flows.market.purchase({ name: 'Second purchase', beneficiary: BUYER });
    const truth = await truthOf(bought.externalSubscriptionId);
    await tell(bought.externalSubscriptionId, { kind: 'purchased', truth });
    await flows.settle();
    expect(await flows.rows('select 1 from tenants'), 'a buyer who has not signed up is waited for').toHaveLength(1);
    await tell(bought.externalSubscriptionId, { kind: 'buyer_ready', truth: { ...truth, buyerReady: true } });
    await flows.settle();
    expect((await truthOf(bought.externalSubscriptionId)).state).toBe('active');
    const rows = await flows.rows<{ state: string; tenant_id: string }>('select state, tenant_id from subscriptions');
    expect(rows.map((r) => r.state)).toEqual(['active', 'active']);
    expect(new Set(rows.map((r) => r.tenant_id)).size, 'each purchase has a tenant of its own').toBe(2);
    expect(await flows.rows('select display_name, region from tenants')).toEqual([
      { display_name: 'Kelp Works', region: 'here' },
      { display_name: 'Kelp Works', region: 'here' },
    ]);
    expect(await flows.state(first.id)).toBe('active');
  });

  it('stops serving a buyer who may not be served, bills nothing of it, and goes on when he may again [GC-54]', async () => {
    const { externalId, id } = await flows.serve();
    let verdict: ServiceVerdict = { serve: true };
    Object.assign(flows.market, { checkService: () => Promise.resolve(verdict) });
    const sweep = () =>
      flows.db.ops((tx) => sweepLostSteps(flows.p, tx, { marketplace: 'azure', waitingBuyers: [], before: flows.clock.now() }));
    const phase = async (): Promise<string> =>
      (await one<{ phase: string }>('select phase from placements where subscription_id = $1', id)).phase;
    const states = async (): Promise<unknown[]> => [await flows.state(id), (await purchase(id))['suspended_source'], await phase()];

    await sweep();
    await flows.settle();
    expect(await states()).toEqual(['active', null, 'active']);
    verdict = { serve: 'unknown', detail: 'no answer' };
    await sweep();
    await flows.settle();
    expect(await states(), 'an answer that says nothing stops nothing').toEqual(['active', null, 'active']);

    verdict = { serve: false, code: 'gcp.service_not_activated', detail: 'activated a minute ago' };
    await sweep();
    await flows.settle(MINUTE);
    expect(await states(), 'so soon after the activation it means nothing').toEqual(['active', null, 'active']);
    await flows.settle(15 * MINUTE);
    expect(await states()).toEqual(['suspended', 'service_check', 'suspended']);
    await tell(externalId, { truth: await truthOf(externalId) });
    expect(await states(), 'that the purchase is in force was never in doubt').toEqual(['suspended', 'service_check', 'suspended']);
    const billable = (): Promise<{ billable: boolean; reason: string }[]> =>
      flows.rows('select billable, reason from segments where subscription_id = $1 order by sequence', [id]);
    expect(await billable()).toMatchObject([{ billable: true }, { billable: false, reason: 'suspension' }]);

    verdict = { serve: true };
    await flows.settle(6 * MINUTE);
    expect(await states()).toEqual(['active', null, 'active']);
    expect(await billable()).toMatchObject([{ billable: true }, { billable: false }, { billable: true, reason: 'reinstatement' }]);
    const told = await flows.rows<{ kind: string; note: string }>(
      `select kind, note from fulfillment_events where subscription_id = $1 and note like 'service check%' order by recorded_at`,
      [id],
    );
    expect(told.map((t) => t.kind)).toEqual(['suspended', 'reinstated']);
    expect(told[0]!.note).toContain('gcp.service_not_activated');
  });

  it('leaves a suspension that the marketplace told meanwhile to the marketplace, and ends in either', async () => {
    const { externalId, id } = await flows.serve();
    let verdict: ServiceVerdict = { serve: false, code: 'gcp.billing_disabled', detail: 'closed' };
    const look = async (): Promise<void> => {
      await flows.db.ops((tx) =>
        flows.tasks.enqueue(tx, { lane: `service:${id}`, handler: 'service.check', payload: { subscriptionId: id } }),
      );
      await flows.settle(MINUTE);
    };
    flows.clock.advance(20 * MINUTE);
    for (const failure of [new MarketplaceBusy('no answer'), new MarketplaceRefusal('gcp.refused', 'not allowed')]) {
      Object.assign(flows.market, { checkService: () => Promise.reject(failure) });
      await look();
      expect(await flows.state(id), 'no answer stops nothing').toBe('active');
    }
    Object.assign(flows.market, { checkService: () => Promise.resolve(verdict) });
    await look();
    expect((await purchase(id))['suspended_source']).toBe('service_check');
    flows.market.patch(externalId, { state: 'suspended' });
    await tell(externalId, { truth: await truthOf(externalId) });
    verdict = { serve: true };
    await flows.settle(6 * MINUTE);
    expect(await purchase(id)).toMatchObject({ state: 'suspended', suspended_source: 'marketplace' });
    flows.market.patch(externalId, { state: 'active' });
    await tell(externalId, { truth: await truthOf(externalId) });
    expect(await purchase(id)).toMatchObject({ state: 'active', suspended_source: null });
  });

  it('reads a purchase again that lacks what only a later look shows, until it is there [GC-28]', async () => {
    const bought = flows.market.purchase({ state: 'active' });
    const externalId = bought.externalSubscriptionId;
    const read = flows.market.readTruth.bind(flows.market);
    let reads = 0;
    let missing = true;
    flows.market.readTruth = async (id: string) => {
      const truth = await read(id);
      reads += 1;
      return truth && { ...truth, ...(missing ? { incomplete: 'usage' as const } : {}), refs: { ...truth.refs, late: !missing } };
    };
    await tell(externalId, { truth: await flows.market.readTruth(externalId) });
    await flows.settle(10 * MINUTE);
    const sofar = reads;
    expect(sofar).toBeGreaterThan(2);
    missing = false;
    await flows.settle(120 * MINUTE);
    expect((await flows.rows<{ refs: object }>('select marketplace_refs as refs from subscriptions'))[0]!.refs).toMatchObject({
      late: true,
    });
    const done = reads;
    await flows.settle(24 * 60 * MINUTE);
    expect(reads, 'and then no more').toBe(done);
  });
});
