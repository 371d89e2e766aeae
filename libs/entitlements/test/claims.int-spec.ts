import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { elsewhere, lockWaiters } from '#platform/testing';
import { Claims, erasePurchase, Landings, subscriptionIdOf, type LandingAccess, type SignedInVisitor } from '../src/index.js';
import { eventOf, truthOf } from '../src/testing/index.js';
import { Rig } from './rig.js';

const DETAILS = { organisation: 'Kelp & Daughters', region: 'local-1', contactName: 'Ada Example', contactEmail: 'ada@kelp.example' };
const ADA = { name: 'Ada Example', email: 'ada@kelp.example', message: 'I run the archive' };
const YES = { approve: true, decidedBy: 'key-1', reason: 'rang back' };
const NO = { approve: false, decidedBy: 'key-1', reason: 'not one of ours' };
const DAY = 86_400_000;

describe('a claim to a purchase', () => {
  let rig: Rig;
  let claims: Claims;
  let id: string;
  beforeAll(async () => {
    rig = await Rig.open();
    claims = new Claims(rig.clock, rig.sealer);
  });
  afterAll(() => rig?.close());
  beforeEach(async () => {
    id = randomUUID();
    rig.at('10:00');
    await rig.apply(eventOf(truthOf({ externalSubscriptionId: id, state: 'pending_fulfillment', externalPlanId: 'standard' })));
  });

  const landings = (access: LandingAccess): Landings =>
    new Landings(rig.clock, rig.sealer, rig.subscriptions, rig.catalog, rig.tenants, access);
  const visit = (): Promise<string> =>
    rig.db.ops((tx) =>
      rig.landings.open(tx, { marketplace: 'azure', token: `token-${randomUUID()}`, subscriptionId: subscriptionIdOf('azure', id) }),
    );
  const find = (session: string, access: LandingAccess = 'approval') => rig.db.ops((tx) => landings(access).find(tx, session));
  const complete = (session: string, access: LandingAccess = 'approval') =>
    rig.db.ops((tx) => landings(access).complete(tx, session, DETAILS));
  const ask = (session: string, input: unknown = ADA, access: LandingAccess = 'approval') =>
    rig.db.ops(async (tx) => claims.ask(tx, await landings(access).find(tx, session), input));
  const pending = () =>
    rig.db.ops((tx) => claims.list(tx, { state: 'pending', subscriptionId: subscriptionIdOf('azure', id) }, { limit: 50, after: null }));
  const decide = (claimId: string, word: typeof YES) => rig.db.ops((tx) => claims.decide(tx, claimId, word));
  const only = async (): Promise<string> => (await pending()).items[0]!.claimId;

  it('is needed before the details where approval is asked: a token alone makes nobody an admin', async () => {
    const session = await visit();
    expect(await find(session)).toMatchObject({ hasAccess: false, needsAccess: true, claim: null });
    await expect(complete(session)).rejects.toMatchObject({ code: 'landing.access_needed', status: 403 });
    await ask(session);
    await expect(complete(session)).rejects.toMatchObject({ code: 'landing.access_needed' });
    await decide(await only(), YES);
    expect(await find(session)).toMatchObject({ hasAccess: true, needsAccess: false, claim: { state: 'approved' } });
    await expect(complete(session)).resolves.toMatchObject({ created: true });
  });

  it('opens the visit that asked and no other', async () => {
    const [asked, other] = [await visit(), await visit()];
    await ask(asked);
    await decide(await only(), YES);
    await complete(asked);
    expect(await find(other)).toMatchObject({ hasAccess: false, needsAccess: true, givenElsewhere: true });
    await expect(complete(other)).rejects.toMatchObject({ code: 'landing.access_needed' });
  });

  it('gives a later visit access where the first visit counts', async () => {
    const [first, later] = [await visit(), await visit()];
    await complete(first, 'first_visit');
    expect(await find(first, 'first_visit')).toMatchObject({ hasAccess: true, givenElsewhere: false });
    expect(await find(later, 'first_visit')).toMatchObject({ hasAccess: false, needsAccess: false, givenElsewhere: true });
    await expect(ask(first, ADA, 'first_visit')).rejects.toMatchObject({ code: 'claim.not_needed' });
    await ask(later, ADA, 'first_visit');
    await decide(await only(), YES);
    expect(await find(later, 'first_visit')).toMatchObject({ hasAccess: true });
  });

  it('is approved by signing in as the beneficiary, both ids, for a visit of his own', async () => {
    const person: SignedInVisitor = { personId: randomUUID(), directoryId: randomUUID(), name: 'Ada', username: 'ada@kelp.example' };
    const truth = truthOf({
      externalSubscriptionId: id,
      state: 'pending_fulfillment',
      externalPlanId: 'standard',
      observedAt: rig.at('10:01'),
    });
    await rig.apply(
      eventOf({
        ...truth,
        beneficiary: { ...person, personId: person.personId.toUpperCase(), email: 'ada@kelp.example', accountId: null },
      }),
    );
    const from = await visit();
    const enter = (visitor: SignedInVisitor, access: LandingAccess = 'signed_in') =>
      rig.db.ops((tx) => landings(access).signIn(tx, from, visitor));
    for (const other of [
      { ...person, personId: randomUUID() },
      { ...person, directoryId: randomUUID() },
      { ...person, personId: '', directoryId: '' },
    ]) {
      const entered = await enter(other);
      expect(entered.matched).toBe(false);
      expect(await find(entered.sessionId, 'signed_in')).toMatchObject({ hasAccess: false, needsAccess: true, signedIn: other });
    }
    const own = await enter(person);
    expect(own.matched).toBe(true);
    expect(await find(own.sessionId, 'signed_in')).toMatchObject({ hasAccess: true, needsAccess: false });
    expect(await find(own.sessionId, 'approval')).toMatchObject({ hasAccess: true, needsAccess: false });
    expect(await find(from, 'signed_in')).toMatchObject({ hasAccess: false, needsAccess: true });
    const rows = await rig.db.ops((tx) =>
      tx.query('select signed_in from landing_sessions where subscription_id = $1', [subscriptionIdOf('azure', id)]),
    );
    expect(JSON.stringify(rows)).not.toContain('kelp');
  });

  it('is needed by signing-in alone only where people can: the other marketplaces name no person', async () => {
    const session = await rig.db.ops((tx) =>
      rig.landings.open(tx, { marketplace: 'gcp', token: `token-${randomUUID()}`, subscriptionId: subscriptionIdOf('azure', id) }),
    );
    expect(await find(session, 'signed_in')).toMatchObject({ needsAccess: false });
    expect(await find(session, 'approval')).toMatchObject({ needsAccess: true });
  });

  it('that is rejected stays so, tells why, and the visit cannot ask again', async () => {
    const session = await visit();
    await ask(session);
    const claimId = await only();
    await decide(claimId, NO);
    expect(await find(session)).toMatchObject({ hasAccess: false, claim: { state: 'rejected', reason: 'not one of ours' } });
    await expect(ask(session)).rejects.toMatchObject({ code: 'claim.rejected' });
    await expect(decide(claimId, YES)).rejects.toMatchObject({ code: 'claim.decided', status: 409 });
    expect((await pending()).items).toEqual([]);
  });

  it('of two decisions at once takes the first', async () => {
    await ask(await visit());
    const claimId = await only();
    const waiting = async (): Promise<boolean> => (await lockWaiters(rig.db)) > 0;
    let second: Promise<unknown> = Promise.resolve();
    await rig.db.ops(async (tx) => {
      await claims.decide(tx, claimId, YES);
      second = elsewhere(() => decide(claimId, NO)).catch((error: unknown) => error);
      // Committed only when the other one stands at the row.
      await vi.waitFor(async () => expect(await waiting()).toBe(true), { timeout: 10_000 });
    });
    expect(await second).toMatchObject({ code: 'claim.decided' });
  });

  it('is asked once however often the button is pressed, and five people at most wait', async () => {
    const session = await visit();
    await Promise.all([ask(session), ask(session), ask(session)]);
    expect((await pending()).items).toHaveLength(1);
    for (let i = 0; i < 4; i += 1) await ask(await visit());
    await expect(ask(await visit())).rejects.toMatchObject({ code: 'claim.too_many', status: 409 });
    await expect(ask(session)).resolves.toBeUndefined();
  });

  it('names every wrong field at once', async () => {
    const refused = await ask(await visit(), { email: 'nobody', message: 'x'.repeat(501) }).catch((e: unknown) => e);
    expect(refused).toMatchObject({ code: 'claim.details_invalid', status: 400 });
    const { errors } = (refused as { extra: { errors: { field: string }[] } }).extra;
    expect(errors.map((e) => e.field).sort()).toEqual(['email', 'message', 'name']);
  });

  it('is counted while it waits and its page is open', async () => {
    const before = (await rig.db.ops((tx) => claims.waiting(tx))).pending;
    await ask(await visit());
    rig.clock.advance(DAY);
    await ask(await visit());
    const both = await rig.db.ops((tx) => claims.waiting(tx));
    expect(both.pending - before).toBe(2);
    rig.clock.advance(6 * DAY);
    expect((await rig.db.ops((tx) => claims.waiting(tx))).oldestAt).toEqual(new Date(rig.clock.now().getTime() - 6 * DAY));
    await decide((await pending()).items[1]!.claimId, NO);
    expect(await rig.db.ops((tx) => claims.waiting(tx))).toMatchObject({ pending: 0, oldestAt: null });
  });

  it('keeps its page open for seven days, and cannot be approved after', async () => {
    const [late, intime] = [await visit(), await visit()];
    await ask(late);
    await ask(intime);
    const [a, b] = (await pending()).items;
    rig.clock.advance(7 * DAY - 1);
    await decide(b!.claimId, YES);
    rig.clock.advance(1);
    await expect(decide(a!.claimId, YES)).rejects.toMatchObject({ code: 'claim.visit_expired' });
    await expect(decide(a!.claimId, NO)).resolves.toMatchObject({ claim: { state: 'rejected' } });
    await expect(find(intime)).resolves.toMatchObject({ hasAccess: true });
    rig.clock.advance(DAY);
    await expect(find(intime)).rejects.toMatchObject({ code: 'landing.session_expired' });
  });

  it('keeps who asks sealed, lists the longest waiting first page by page, and forgets him when the buyer is erased', async () => {
    const [first, second] = [await visit(), await visit()];
    await ask(first);
    await ask(second, { name: 'Bo Example', email: 'bo@kelp.example' });
    const rows = await rig.db.ops((tx) =>
      tx.query('select claimant from claims where subscription_id = $1', [subscriptionIdOf('azure', id)]),
    );
    expect(JSON.stringify(rows)).not.toContain('kelp');
    const filter = { state: 'pending' as const, subscriptionId: subscriptionIdOf('azure', id) };
    const page = await rig.db.ops((tx) => claims.list(tx, filter, { limit: 1, after: null }));
    const next = await rig.db.ops((tx) => claims.list(tx, filter, { limit: 1, after: page.nextCursor }));
    expect([...page.items, ...next.items].map((c) => c.claimant?.email)).toEqual(['ada@kelp.example', 'bo@kelp.example']);
    expect(next.nextCursor).toBeNull();
    await rig.db.ops((tx) => rig.landings.signIn(tx, first, { personId: 'p', directoryId: 'd', name: 'Cy', username: 'cy@kelp.example' }));
    await rig.apply(
      eventOf(truthOf({ externalSubscriptionId: id, state: 'voided', externalPlanId: 'standard', observedAt: rig.at('11:00') }), {
        kind: 'voided',
        occurredAt: rig.at('11:00'),
      }),
    );
    await expect(rig.db.ops((tx) => erasePurchase(tx, subscriptionIdOf('azure', id), rig.at('12:00')))).resolves.toMatchObject({
      erased: true,
    });
    expect((await pending()).items.map((c) => c.claimant)).toEqual([null, null]);
    const known = await rig.db.ops((tx) =>
      tx.query('select 1 from landing_sessions where subscription_id = $1 and signed_in is not null', [subscriptionIdOf('azure', id)]),
    );
    expect(known).toEqual([]);
  });
});
