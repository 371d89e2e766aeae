import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSegments, subscriptionIdOf } from '#entitlements';
import { arnOf, AwsFlows } from './support/aws-flows.js';
import { Story } from './support/aws-story.js';

const at = (time: string): Date => new Date(`2026-03-10T${time.length === 5 ? `${time}:00` : time}Z`);
const START = at('10:00');

describe('an AWS renewal', () => {
  let f: AwsFlows;
  beforeEach(async () => {
    f = await AwsFlows.open(START);
  });
  afterEach(() => f?.close());

  const placementOf = (licence: string) => f.ops((tx) => f.engine.placementOfSubscription(tx, subscriptionIdOf('aws', licence)));
  const keys = async (placementId: string) => (await f.ops((tx) => f.engine.credentials(tx, placementId))).keys;
  const segments = (licence: string) =>
    f.ops((tx) => readSegments(tx, { subscriptionIds: [subscriptionIdOf('aws', licence)], from: new Date(0), to: new Date('2100-01-01') }));
  const audited = async (action: string): Promise<number> =>
    (await f.rows('select 1 from audit_events where action = $1', [action])).length;

  /** What people are told of renewals that did not take over. */
  const found = async (): Promise<Record<string, unknown>[]> =>
    (await f.rows<{ evidence: Record<string, unknown> }>(`select evidence from findings where kind = 'succession' order by raised_at`)).map(
      (one) => one.evidence,
    );

  /** Bought at 10:00, registered and serving at once. */
  async function serving(s: Story): Promise<string> {
    await f.event(s.created(1, START));
    await f.event(s.licensed(1, START));
    await f.until(START);
    await f.register(s[1].licence, s.accountId);
    await f.until(at('10:00:30'));
    expect((await f.get(s[1].licence)).state).toBe('active');
    return (await placementOf(s[1].licence))!.placementId;
  }

  async function expectWhole(s: Story): Promise<void> {
    const ids = [s[1], s[2]].map((x) => subscriptionIdOf('aws', x.licence));
    const law = await f.ops((tx) => f.metering.checkSumLaw(tx, { subscriptionIds: ids }));
    expect(law.series.flatMap((x) => x.missing)).toEqual([]);
    expect(law.ok).toBe(true);
    expect(f.metered.conflicts).toEqual([]);
    expect(await f.rows(`select handler, last_error from tasks where state = 'parked'`)).toEqual([]);
  }
  /** One tenant, one live placement, which is the successor's. */
  async function expectTakenOver(s: Story, placementId: string): Promise<void> {
    const [old, next] = [await f.get(s[1].licence), await f.get(s[2].licence)];
    expect(next).toMatchObject({ state: 'active', supersededBy: null, buyerAccountId: s.accountId });
    expect(next.tenantId).not.toBeNull();
    expect(old.supersededBy).toBe(next.subscriptionId);
    expect(old.tenantId).toBe(next.tenantId);
    const live = await f.rows<{ placement_id: string; subscription_id: string; phase: string }>(
      'select placement_id, subscription_id, phase from placements where tenant_id = $1',
      [next.tenantId],
    );
    expect(live).toEqual([{ placement_id: placementId, subscription_id: next.subscriptionId, phase: 'active' }]);
    const [first] = await segments(s[2].licence);
    const last = (await segments(s[1].licence)).at(-1);
    expect(last?.endsAt ?? first!.startsAt).toEqual(first!.startsAt);
  }

  it('keeps tenant, endpoint and keys without a landing; the old licence is settled in its window, nothing is billed twice or lost [AW-16]', async () => {
    const s = new Story();
    const placementId = await serving(s);
    const [endpoint, before] = [(await placementOf(s[1].licence))!.endpoint, await keys(placementId)];
    await f.report(placementId, at('10:05'), at('12:20'), START);
    await f.until(at('12:22'));
    for (const event of [s.created(2, at('12:22')), s.licensed(2, at('12:22')), s.ended(1, 'RENEWED', at('12:22'))]) await f.event(event);
    await f.until(at('12:23'));
    await f.event(s.deprovisioned(1, at('12:22:30')));
    await f.until(at('12:25'));
    await expectTakenOver(s, placementId);
    expect(await found()).toEqual([]);
    expect((await placementOf(s[2].licence))!.endpoint).toBe(endpoint);
    expect(await keys(placementId)).toEqual(before);

    await f.report(placementId, at('12:25'), at('14:00'), START);
    await f.until(at('14:05'));
    const accepted = [...f.metered.accepted.values()];
    const hours = (licence: string): number[] =>
      accepted
        .filter((r) => r.LicenseArn === arnOf(licence) && r.Dimension === 'mib_hours_stored')
        .map((r) => new Date(r.Timestamp * 1000).getUTCHours())
        .sort();
    expect(hours(s[1].licence)).toEqual([10, 11, 12]);
    expect(hours(s[2].licence)).toEqual([12, 13]);
    const used = await f.rows<{ subscription_id: string; q: string }>(
      `select subscription_id, sum(quantity)::text as q from ledger_entries where meter = 'mib_egress' and term in ('measured', 'estimated', 'adjustment') group by 1`,
    );
    // 12:20 is the last sample before the cut: what it leaves open is the renewal's.
    const mib = new Map(used.map((u) => [u.subscription_id, BigInt(u.q) >> 20n]));
    expect([mib.get(subscriptionIdOf('aws', s[1].licence)), mib.get(subscriptionIdOf('aws', s[2].licence))]).toEqual([28n, 19n]);
    expect((await f.get(s[1].licence)).state).toBe('cancelled');
    const late = await f.rows(`select 1 from findings where kind in ('loss.missed_window', 'loss.expired', 'over_reported')`);
    expect(late).toEqual([]);
    await expectWhole(s);
    // A landing afterwards is a visit to what serves already, under either licence.
    for (const n of [1, 2] as const) {
      const landed = await f.land(s[n].licence, s.accountId);
      const session = await f.ops((tx) => f.p.landings.find(tx, landed));
      expect(session.subscriptionId).toBe(subscriptionIdOf('aws', s[2].licence));
    }
  });

  it('ends alike in whatever order the six messages come [AW-16]', async () => {
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }), async (order) => {
        await f.close();
        f = await AwsFlows.open(at('12:00'));
        const s = new Story();
        await f.register(s[1].licence, s.accountId);
        await f.until(at('12:01'));
        const messages = [
          s.created(1, at('12:00')),
          s.licensed(1, at('12:00')),
          s.created(2, at('12:22')),
          s.licensed(2, at('12:22')),
          s.ended(1, 'RENEWED', at('12:22')),
          s.deprovisioned(1, at('12:22:30')),
        ];
        await f.until(at('12:26'));
        // A landing alone sets up nothing; whichever licence comes first does, and there is one place in the end.
        expect(await placementOf(s[1].licence)).toBeNull();
        for (const [i, n] of order.entries()) {
          await f.event(messages[n]!);
          await f.until(at(`12:${27 + i}`));
        }
        await f.until(at('12:34'));
        const { placementId } = (await placementOf(s[2].licence))!;
        await f.report(placementId, at('12:35'), at('14:00'), at('12:35'));
        await f.until(at('14:05'));
        await expectTakenOver(s, placementId);
        expect(['cancelled', 'voided']).toContain((await f.get(s[1].licence)).state);
        await expectWhole(s);
      }),
      { numRuns: 5, endOnFailure: true },
    );
  }, 180_000);

  it('that starts later leaves the old licence alone until its day [AW-17]', async () => {
    const s = new Story();
    const placementId = await serving(s);
    await f.until(at('11:00'));
    await f.event(s.created(2, at('13:00'), at('11:00')));
    await f.event(s.licensed(2, at('11:00')));
    await f.until(at('12:59'));
    expect(await f.get(s[1].licence)).toMatchObject({ state: 'active', supersededBy: null });
    await f.until(at('13:01'));
    await expectTakenOver(s, placementId);
    expect((await f.get(s[1].licence)).endedAt).toEqual(at('13:00'));
  });

  it('is waited for when the old licence goes first, and takes what was sampled meanwhile along [AW-18]', async () => {
    const s = new Story();
    const placementId = await serving(s);
    await f.report(placementId, at('10:05'), at('12:20'), START);
    await f.until(at('12:22'));
    await f.event(s.ended(1, 'REPLACED', at('12:22')));
    await f.event(s.deprovisioned(1, at('12:22')));
    await f.report(placementId, at('12:25'), at('12:55'), START);
    expect(await f.get(s[1].licence)).toMatchObject({ endedAt: at('12:22') });
    expect((await placementOf(s[1].licence))!.phase).toBe('active');
    await f.event(s.created(2, at('12:22')));
    await f.event(s.licensed(2, at('12:22')));
    await f.until(at('12:56'));
    await f.report(placementId, at('13:00'), at('14:00'), START);
    await f.until(at('14:05'));
    await expectTakenOver(s, placementId);
    expect((await segments(s[2].licence))[0]!.startsAt).toEqual(at('12:22'));
    await expectWhole(s);
  });

  it('that never comes: access ends after an hour, with a note, and the old licence is settled [AW-18, AW-47]', async () => {
    const s = new Story();
    const placementId = await serving(s);
    await f.report(placementId, at('10:05'), at('12:20'), START);
    await f.until(at('12:22'));
    await f.event(s.ended(1, 'RENEWED', at('12:22')));
    await f.event(s.deprovisioned(1, at('12:22')));
    await f.report(placementId, at('12:25'), at('13:20'), START);
    expect((await placementOf(s[1].licence))!.phase).toBe('active');
    await f.until(at('13:45'));
    expect((await placementOf(s[1].licence))!.phase).toBe('ended');
    expect(await audited('subscription.successor_missing')).toBe(1);
    expect(await found()).toMatchObject([{ what: 'missing', externalSubscriptionId: s[1].licence }]);
    await f.until(at('15:00'));
    expect((await f.get(s[1].licence)).state).toBe('cancelled');
    await expectWhole(s);
  });

  it('that never comes while the old licence goes on: it is served on, and a person is told [AW-47]', async () => {
    const s = new Story();
    const placementId = await serving(s);
    await f.until(at('12:22'));
    await f.event(s.ended(1, 'RENEWED', at('12:22')));
    await f.until(at('13:21'));
    expect(await found()).toEqual([]);
    await f.until(at('13:23'));
    expect(await found()).toMatchObject([{ what: 'missing', externalSubscriptionId: s[1].licence }]);
    expect((await placementOf(s[1].licence))!).toMatchObject({ placementId, phase: 'active' });
    // One that is named and starts later is no finding.
    const later = new Story();
    await serving(later);
    await f.event(later.created(2, at('16:00'), at('13:30')));
    await f.event(later.licensed(2, at('13:30')));
    await f.event(later.ended(1, 'RENEWED', at('13:30')));
    await f.until(at('15:00'));
    expect(await found()).toHaveLength(1);
  });

  it('is not waited for once the agreement is known to have been cancelled, also where the licence went first [AW-18]', async () => {
    const s = new Story();
    await serving(s);
    await f.until(at('12:22'));
    await f.event(s.deprovisioned(1, at('12:22')));
    await f.until(at('12:23'));
    expect((await placementOf(s[1].licence))!.phase).toBe('active');
    await f.event(s.ended(1, 'CANCELLED', at('12:22:10')));
    await f.until(at('12:40'));
    expect((await placementOf(s[1].licence))!.phase).toBe('ended');
    expect(await audited('subscription.successor_missing')).toBe(0);
    expect(await found()).toEqual([]);
  });

  it.each(['the renewal is told last', 'the predecessor is told last'])(
    'that was registered before its predecessor was known stays apart, and a person is told once: %s [AW-47]',
    async (which) => {
      const s = new Story();
      if (which === 'the renewal is told last') await serving(s);
      else {
        // Only landed: nobody has told of its agreement, so nobody knows it by that name.
        await f.register(s[1].licence, s.accountId);
        await f.until(at('10:01'));
      }
      await f.event(s.licensed(2, at('10:30')));
      await f.register(s[2].licence, s.accountId);
      await f.until(at('10:31'));
      const own = (await f.get(s[2].licence)).tenantId;
      expect(own).not.toBeNull();
      expect(await found()).toEqual([]);
      await f.event(s.created(2, at('10:30')));
      await f.until(at('10:33'));
      if (which === 'the predecessor is told last') {
        expect(await found()).toEqual([]);
        await f.event(s.licensed(1, START));
        await f.until(at('10:34'));
      }
      for (let again = 0; again < 2; again++) await f.event(s.licensed(2, at('10:30')));
      await f.until(at('10:40'));
      expect(await found()).toMatchObject([{ what: 'apart', externalSubscriptionId: s[2].licence }]);
      expect(await f.get(s[2].licence)).toMatchObject({ state: 'active', tenantId: own });
      const old = await f.get(s[1].licence);
      expect(old).toMatchObject({ state: 'active', supersededBy: null });
      expect(old.tenantId).not.toBe(own);
      expect(await f.rows(`select handler from tasks where state = 'parked'`)).toEqual([]);
    },
  );

  it('in the name of another buyer gets nothing, and a person is told [AW-19, AW-47]', async () => {
    const s = new Story();
    await serving(s);
    const thief = Object.assign(new Story(), { 1: s[1] });
    await f.event(thief.created(2, at('10:30')));
    await f.event(thief.licensed(2, at('10:30')));
    await f.until(at('10:40'));
    expect(await f.get(thief[2].licence)).toMatchObject({ state: 'pending_fulfillment', tenantId: null });
    expect(await f.get(s[1].licence)).toMatchObject({ state: 'active', supersededBy: null });
    expect(await audited('subscription.take_over_refused')).toBeGreaterThan(0);
    expect(await found()).toMatchObject([{ what: 'refused', externalSubscriptionId: thief[2].licence }]);
  });
});
