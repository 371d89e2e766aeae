import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MarketplaceState } from '#marketplaces/core';
import { gate } from '#platform/testing';
import { SLUG } from '#tenancy';
import { subscriptionIdOf } from '../src/index.js';
import { eventOf, truthOf } from '../src/testing/index.js';
import { Rig } from './rig.js';

const DETAILS = { organisation: 'Kelp & Daughters', region: 'local-1', contactName: 'Ada Example', contactEmail: 'ada@kelp.example' };

describe('a landing', () => {
  let rig: Rig;
  let id: string;
  beforeAll(async () => {
    rig = await Rig.open();
  });
  afterAll(() => rig?.close());
  beforeEach(() => {
    id = randomUUID();
    rig.at('10:00');
  });

  const open = async (state: MarketplaceState = 'pending_fulfillment', plan = 'standard'): Promise<string> => {
    await rig.apply(eventOf(truthOf({ externalSubscriptionId: id, state, externalPlanId: plan })));
    return visit();
  };
  const visit = (): Promise<string> =>
    rig.db.ops((tx) =>
      rig.landings.open(tx, { marketplace: 'azure', token: `token-${randomUUID()}`, subscriptionId: subscriptionIdOf('azure', id) }),
    );
  const complete = (session: string, input: unknown = DETAILS) => rig.db.ops((tx) => rig.landings.complete(tx, session, input));
  const find = (session: string) => rig.db.ops((tx) => rig.landings.find(tx, session));

  it('is known by a random id of which only the hash is kept, as of the token', async () => {
    const session = await open();
    const [row] = await rig.db.ops((tx) =>
      tx.query('select * from landing_sessions where subscription_id = $1', [subscriptionIdOf('azure', id)]),
    );
    expect(session).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(JSON.stringify(row)).not.toContain(session);
    expect(JSON.stringify(row)).not.toContain('token-');
  });

  it('that is unknown or has expired says so', async () => {
    await expect(find('never-issued')).rejects.toMatchObject({ code: 'landing.session_unknown', status: 404 });
    const session = await open();
    rig.clock.advance(24 * 3_600_000 - 1);
    await expect(find(session)).resolves.toMatchObject({ completedAt: null });
    rig.clock.advance(1);
    await expect(find(session)).rejects.toMatchObject({ code: 'landing.session_expired', status: 410 });
    await expect(complete(session)).rejects.toMatchObject({ code: 'landing.session_expired' });
  });

  it('lists every wrong field at once', async () => {
    const session = await open();
    const refused = await complete(session, { organisation: ' x ', region: 'moon', contactEmail: 'nobody' }).catch((e: unknown) => e);
    expect(refused).toMatchObject({ code: 'landing.details_invalid', status: 400 });
    const { errors } = (refused as { extra: { errors: { field: string }[] } }).extra;
    expect(errors.map((e) => e.field).sort()).toEqual(['contactEmail', 'contactName', 'organisation', 'region']);
    expect((await find(session)).completedAt).toBeNull();
  });

  it.each([[null], ['text'], [[]]])('refuses %j as details', async (input) => {
    await expect(complete(await open(), input)).rejects.toMatchObject({ code: 'landing.details_invalid' });
  });

  it('refuses a region in which its plan is not sold', async () => {
    const session = await open('pending_fulfillment', 'island');
    await expect(complete(session)).rejects.toMatchObject({
      code: 'landing.details_invalid',
      extra: { errors: [{ field: 'region', message: 'is not offered for this plan' }] },
    });
    await expect(complete(session, { ...DETAILS, region: 'local-2' })).resolves.toMatchObject({ created: true });
  });

  it('makes the tenant with a slug of its name and binds the purchase to it', async () => {
    const session = await open();
    const done = await complete(session);
    expect(done.created).toBe(true);
    const tenant = await rig.db.ops((tx) => rig.tenants.get(tx, done.tenantId));
    expect(tenant).toMatchObject({
      displayName: 'Kelp & Daughters',
      region: 'local-1',
      state: 'active',
      slug: expect.stringMatching(/^kelp-daughters-[0-9a-f]{8}$/),
    });
    expect(tenant.slug).toMatch(SLUG);
    expect((await rig.get(id)).tenantId).toBe(done.tenantId);
    expect((await find(session)).details).toEqual(DETAILS);
  });

  it('keeps what the buyer typed sealed', async () => {
    await complete(await open());
    const rows = await rig.db.ops((tx) =>
      tx.query(
        'select s.details, t.contact from landing_sessions s join subscriptions p using (subscription_id) join tenants t on t.tenant_id = p.tenant_id where s.subscription_id = $1',
        [subscriptionIdOf('azure', id)],
      ),
    );
    expect(JSON.stringify(rows)).not.toMatch(/Ada|kelp/i);
  });

  it('is completed once, also by two submissions at once', async () => {
    const session = await open();
    const commit = gate();
    const written = gate();
    const first = rig.db.ops(async (tx) => {
      await rig.landings.complete(tx, session, DETAILS);
      written.open();
      await commit.opened;
    });
    await written.opened;
    const second = complete(session).then(
      () => 'completed',
      (e: { code: string }) => e.code,
    );
    await new Promise((resolve) => setTimeout(resolve, 100)); // it looks while the first is not committed
    commit.open();
    await first;
    expect(await second).toBe('landing.already_completed');
    await expect(complete(session)).rejects.toMatchObject({ code: 'landing.already_completed', status: 409 });
  });

  it('takes details once for a token, however many visits it opened, and shows secrets to the first visit only', async () => {
    const session = await open();
    const token = `token-${randomUUID()}`;
    const opened = (): Promise<string> =>
      rig.db.ops((tx) => rig.landings.open(tx, { marketplace: 'azure', token, subscriptionId: subscriptionIdOf('azure', id) }));
    const [first, again] = [await opened(), await opened()];
    const both = await Promise.allSettled([complete(first), complete(again)]);
    expect(both.map((one) => (one.status === 'fulfilled' ? 'completed' : (one.reason as { code: string }).code)).sort()).toEqual([
      'completed',
      'landing.already_completed',
    ]);
    rig.clock.advance(1_000);
    await complete(session);
    const visits = await Promise.all([first, again, session].map(find));
    expect(visits.filter((visit) => visit.completedAt)).toHaveLength(2);
    expect(visits.filter((visit) => visit.hasAccess)).toEqual(visits.slice(0, 2).filter((visit) => visit.completedAt));
  });

  it('of a person whom the marketplace tells apart is his again later; another of the same buyer needs a claim [GC-07]', async () => {
    const buyer = `account-${randomUUID()}`;
    const party = { email: null, personId: null, directoryId: null, accountId: buyer };
    const bought = async (): Promise<string> => {
      const externalSubscriptionId = randomUUID();
      await rig.apply(eventOf(truthOf({ externalSubscriptionId, purchaser: party, beneficiary: party })));
      return subscriptionIdOf('azure', externalSubscriptionId);
    };
    const by = (visitor: string | null, subscriptionId: string): Promise<string> =>
      rig.db.ops((tx) => rig.landings.open(tx, { marketplace: 'azure', token: `token-${randomUUID()}`, subscriptionId, visitor }));
    const [one, other] = [await bought(), await bought()];
    const early = await by('user-2', one);
    expect(await find(early), 'nobody has signed up yet').toMatchObject({ needsAccess: false, hasAccess: false });
    await complete(await by('user-1', one));
    expect(await find(await by('user-1', one))).toMatchObject({ needsAccess: false, hasAccess: true, givenElsewhere: true });
    for (const visit of [early, await by('user-2', one), await by('user-2', other)])
      expect(await find(visit)).toMatchObject({ needsAccess: true, hasAccess: false });
    await expect(complete(await by('user-2', other))).rejects.toMatchObject({ code: 'landing.access_needed' });
    expect(await find(await by('user-1', other)), 'nothing was given for it').toMatchObject({ needsAccess: false, hasAccess: false });
    expect(await find(await by(null, one)), 'whom nobody names is as before').toMatchObject({ needsAccess: false, hasAccess: false });
    const kept = await rig.db.ops((tx) => tx.query('select * from landing_sessions'));
    expect(JSON.stringify(kept)).not.toContain('user-1');
  });

  it('on a bound purchase sets the display name and the contact, nothing else', async () => {
    const first = await complete(await open());
    const before = await rig.db.ops((tx) => rig.tenants.get(tx, first.tenantId));
    rig.clock.advance(60_000);
    const again = await complete(await visit(), { ...DETAILS, organisation: 'Kelp Holding', region: 'local-2' });
    expect(again).toEqual({ ...first, created: false });
    const after = await rig.db.ops((tx) => rig.tenants.get(tx, first.tenantId));
    expect(after).toEqual({ ...before, displayName: 'Kelp Holding', updatedAt: rig.clock.now() });
    expect((await rig.published(id)).filter((name) => name === 'tenant_bound')).toHaveLength(1);
  });

  it('on a purchase of an older tenant describes that tenant and makes no second one', async () => {
    const other = await complete(await open());
    id = randomUUID();
    const session = await open();
    await rig.bind(id, other.tenantId);
    expect(await complete(session, { ...DETAILS, organisation: 'Kelp Group' })).toMatchObject({ tenantId: other.tenantId, created: false });
    expect((await rig.db.ops((tx) => rig.tenants.get(tx, other.tenantId))).displayName).toBe('Kelp Group');
    expect(await rig.db.ops((tx) => tx.query(`select 1 from tenants where display_name = 'Kelp Group'`))).toHaveLength(1);
  });

  it('gives two organisations of one name different slugs, and one without Latin letters a plain one', async () => {
    const slugs: string[] = [];
    for (const organisation of ['Kelp', 'Kelp', '海藻']) {
      id = randomUUID();
      const { tenantId } = await complete(await open(), { ...DETAILS, organisation });
      slugs.push((await rig.db.ops((tx) => rig.tenants.get(tx, tenantId))).slug);
    }
    expect(new Set(slugs).size).toBe(3);
    expect(slugs[2]).toMatch(/^tenant-[0-9a-f]{8}$/);
  });

  it('on a purchase that is over is refused', async () => {
    const session = await open();
    await rig.apply(eventOf(truthOf({ externalSubscriptionId: id, state: 'ended' })));
    await expect(complete(session)).rejects.toMatchObject({ code: 'landing.purchase_over', status: 409 });
  });
});
