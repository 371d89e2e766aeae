import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { awaitsJoin, listJoins, lockJoin, subscriptionIdOf, type PurchaseJoinRow } from '#entitlements';
import { joinPurchases, rejectJoin } from '../src/processes/join-purchases.js';
import { JoinClock } from '../src/workers/join-clock.js';
import { arnOf, AwsFlows, PRODUCT } from './support/aws-flows.js';
import { Story } from './support/aws-story.js';

const at = (time: string): Date => new Date(`2026-03-10T${time.length === 5 ? `${time}:00` : time}Z`);
const START = at('09:00');
const UNTIL = at('10:00');

/** From `until` on an old listing is metered by licence, and nobody tells which licence a subscriber became (contract aws §0.3, §11.1). */
describe('a purchase of an old listing whose product changes to licences', () => {
  let f: AwsFlows;
  let s: Story;
  let customer: string;
  let old: string;
  beforeEach(async () => {
    f = await AwsFlows.open(START, { legacyUntil: UNTIL });
    s = new Story();
    customer = `c${randomUUID().replaceAll('-', '').slice(0, 12)}`;
    old = `legacy:${PRODUCT}:${customer}`;
  });
  afterEach(() => f?.close());

  const id = (external: string): string => subscriptionIdOf('aws', external);
  const placementOf = (external: string) => f.ops((tx) => f.engine.placementOfSubscription(tx, id(external)));
  async function serving(): Promise<string> {
    await f.notify('subscribe-success', customer);
    await f.until(START);
    await f.register(customer, s.accountId);
    await f.until(at('09:01'));
    expect((await f.get(old)).state).toBe('active');
    return (await placementOf(old))!.placementId;
  }
  const waiting = async (): Promise<PurchaseJoinRow[]> =>
    (await f.ops((tx) => listJoins(tx, { state: 'waiting' }, { limit: 9, after: null }))).items;
  const wish = { spelling: null, reason: 'the buyer showed us both', actor: 'operator:k' };
  const approve = async (spelling: string | null = null): Promise<unknown> => {
    const [one] = await waiting();
    return f.ops(async (tx) => joinPurchases(f.p, tx, { ...(await lockJoin(tx, one!.join_id)), ...wish, spelling }));
  };
  const findings = (kind: string): Promise<{ settled: boolean; deadline: Date | null }[]> =>
    f.rows(`select settlement is not null as settled, deadline from findings where kind = $1`, [kind]);
  /** Hours that AWS has, by the key they went under. */
  const hours = (): Record<string, number[]> => {
    const by: Record<string, number[]> = {};
    for (const r of f.metered.accepted.values())
      if (r.Dimension === 'mib_hours_stored')
        (by[r.LicenseArn ?? r.CustomerIdentifier!] ??= []).push(new Date(r.Timestamp * 1_000).getUTCHours());
    return Object.fromEntries(Object.entries(by).map(([key, list]) => [key, list.sort((a, b) => a - b)]));
  };
  async function expectOneWhole(placementId: string): Promise<void> {
    const [former, next] = [await f.get(old), await f.get(s[1].licence)];
    expect(next).toMatchObject({ state: 'active', tenantId: former.tenantId });
    expect(former.supersededBy).toBe(next.subscriptionId);
    expect(await f.rows('select placement_id, subscription_id, phase from placements')).toEqual([
      { placement_id: placementId, subscription_id: next.subscriptionId, phase: 'active' },
    ]);
    const law = await f.ops((tx) => f.metering.checkSumLaw(tx, { subscriptionIds: [former.subscriptionId, next.subscriptionId] }));
    expect(law.ok).toBe(true);
    expect(f.metered.conflicts).toEqual([]);
    expect(
      await f.rows(
        `select kind, evidence from findings where (kind like 'loss.%' and kind <> 'loss.residue') or kind = 'duplicate_conflict'`,
      ),
    ).toEqual([]);
    expect(await f.rows(`select handler, last_error from tasks where state = 'parked'`)).toEqual([]);
  }

  it('joined before the change, goes by its licence from the very hour on, with tenant and endpoint, in no hour under both [AW-132]', async () => {
    const placementId = await serving();
    await f.report(placementId, at('09:05'), at('09:20'), START);
    expect(await new JoinClock(f.p).tick()).toBe(1);
    expect(await findings('unjoined_purchase')).toEqual([{ settled: false, deadline: UNTIL }]);
    await f.event(s.licensed(1, at('09:20')));
    await f.until(at('09:21'));
    expect(await waiting()).toMatchObject([{ former_external_id: old, next_external_id: s[1].licence }]);
    // The event's spelling of the licence is none that calls take.
    await expect(approve()).rejects.toMatchObject({ code: 'join.not_joinable' });
    await approve(arnOf(s[1].licence));
    expect(await findings('unjoined_purchase')).toEqual([{ settled: true, deadline: UNTIL }]);
    await f.report(placementId, at('09:25'), at('09:55'), START);
    expect((await f.get(s[1].licence)).tenantId).toBeNull();
    await f.report(placementId, at('10:00'), at('12:05'), START);
    await f.until(at('12:10'));
    expect(hours()).toEqual({ [customer]: [9], [arnOf(s[1].licence)]: [10, 11] });
    await expectOneWhole(placementId);
  });

  it('whose licence lands after the change, waits for a person: nothing is set up twice, and no hour is lost or sent twice [AW-133]', async () => {
    const placementId = await serving();
    await f.report(placementId, at('09:05'), at('11:20'), START);
    expect(hours()).toEqual({ [customer]: [9] });
    await expect(f.land(s[1].licence, s.accountId)).rejects.toThrow('landing.awaiting_join');
    await f.event(s.licensed(1, at('11:20')));
    await f.until(at('11:21'));
    expect(await placementOf(s[1].licence)).toBeNull();
    await approve();
    await f.until(at('11:23'));
    // What waited goes by the licence now, and what follows until the next full hour; from then on it is the licence's own.
    expect(hours()).toEqual({ [customer]: [9], [arnOf(s[1].licence)]: [10] });
    await f.report(placementId, at('11:25'), at('13:05'), START);
    await f.until(at('13:10'));
    expect(hours()).toEqual({ [customer]: [9], [arnOf(s[1].licence)]: [10, 11, 12] });
    expect((await f.get(old)).endedAt).toEqual(at('12:00'));
    await expectOneWhole(placementId);
    const landed = await f.land(s[1].licence, s.accountId);
    const session = await f.ops((tx) => f.p.landings.find(tx, landed));
    expect(session.subscriptionId).toBe(id(s[1].licence));
  });

  it('has ended here only: what AWS takes late keeps its own window, not the hour after an end [AW-133]', async () => {
    const placementId = await serving();
    f.metered.throttles = true;
    await f.report(placementId, at('09:05'), at('10:20'), START);
    await f.ops((tx) => joinPurchases(f.p, tx, { ...wish, formerId: id(old), nextId: null, spelling: arnOf(s[1].licence) }));
    await f.report(placementId, at('10:25'), at('11:05'), START);
    expect((await f.get(old)).endedAt).toEqual(at('11:00'));
    await f.until(at('12:10'));
    f.metered.throttles = false;
    await f.until(at('12:20'));
    expect(hours()).toEqual({ [customer]: [9], [arnOf(s[1].licence)]: [10] });
    await expectOneWhole(placementId);
  });

  it('that a person joins by the ARN alone, before AWS told of the licence, is one with it; the licence told later adds nothing [AW-132]', async () => {
    const placementId = await serving();
    const given = { ...wish, formerId: id(old), nextId: null, spelling: arnOf(s[1].licence) };
    for (const spelling of ['l-0123456789abcdef', 'aws:license-manager:us-east-1:294400000000:l-0123456789abcdef0123456789abcdef'])
      await expect(f.ops((tx) => joinPurchases(f.p, tx, { ...given, spelling }))).rejects.toMatchObject({ code: 'join.not_joinable' });
    await f.ops((tx) => joinPurchases(f.p, tx, given));
    await f.event(s.licensed(1, at('09:03')));
    await f.report(placementId, at('09:05'), at('11:05'), START);
    await f.until(at('11:10'));
    expect(await waiting()).toEqual([]);
    expect(hours()).toEqual({ [customer]: [9], [arnOf(s[1].licence)]: [10] });
    await expectOneWhole(placementId);
    await expect(f.ops((tx) => joinPurchases(f.p, tx, given))).rejects.toMatchObject({ code: 'join.not_joinable' });
  });

  it('stays alone where a person says that the licence is another purchase, or where it is of another buyer [AW-134]', async () => {
    await serving();
    const other = new Story();
    await f.event(other.licensed(1, at('09:03')));
    await f.event(s.licensed(1, at('09:03')));
    await f.until(at('09:04'));
    const [one, ...more] = await waiting();
    expect([one!.next_external_id, more]).toEqual([s[1].licence, []]);
    const stranger = { ...wish, formerId: id(old), nextId: id(other[1].licence), spelling: arnOf(other[1].licence) };
    await expect(f.ops((tx) => joinPurchases(f.p, tx, stranger))).rejects.toMatchObject({ code: 'join.not_joinable' });
    expect(await f.ops((tx) => awaitsJoin(tx, id(s[1].licence)))).toBe(true);
    await f.ops(async (tx) => rejectJoin(f.p, tx, await lockJoin(tx, one!.join_id), wish));
    await f.until(UNTIL);
    await f.register(s[1].licence, s.accountId);
    await f.until(at('10:01'));
    expect((await f.get(s[1].licence)).state).toBe('active');
    expect((await f.get(old)).supersededBy).toBeNull();
    // It has still to be joined: that stays open.
    expect(await findings('unjoined_purchase')).toEqual([{ settled: false, deadline: UNTIL }]);
  });
});
