import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requestPublisherChange } from '../src/processes/publisher-change.js';
import { StandingClock } from '../src/workers/standing-clock.js';
import { Flows } from './support/flows.js';

const MIB = 1_048_576;

/** Catalog: standard allows 128 MiB, premium 256. A placement stays where it is, so that more has to fit there. */
describe('a change that would allow more than the cluster has room for', () => {
  let f: Flows;
  beforeEach(async () => {
    f = await Flows.open();
    shapes(300 * MIB);
  });
  afterEach(() => f?.close());

  let can: ReturnType<Flows['driver']['capabilities']> | undefined;
  function shapes(bytes: number): void {
    can ??= f.driver.capabilities();
    const shapesNow = can.shapes.map((shape) => ({ ...shape, capacityBytes: String(bytes) }));
    f.driver.capabilities = () => ({ ...can!, shapes: shapesNow });
  }
  const planOf = async (id: string): Promise<string> => (await f.db.ops((tx) => f.p.subscriptions.get(tx, id))).externalPlanId;
  const quotaOf = async (id: string): Promise<string | null> =>
    (await f.db.ops((tx) => f.p.engine.placementOfSubscription(tx, id)))!.desired.limits.hardQuotaBytes;
  const findings = () =>
    f.rows<{ open: boolean; evidence: object }>(
      `select settlement is null as open, evidence from findings where kind = 'room_exceeded' order by raised_at, finding_id`,
    );
  /** Nobody asked us: the marketplace tells what is in force. */
  const decidedThere = async (externalId: string): Promise<void> => {
    f.market.patch(externalId, { externalPlanId: 'premium' });
    await f.deliver(f.market.message(externalId, 'changed'));
    await f.settle(60_000);
  };
  const look = async (): Promise<void> => void (await new StandingClock(f.p).tick());

  it('is refused with the reason, by the marketplace’s question and by an operator’s, and agreed once there is room', async () => {
    const [one, two] = [await f.serve('One'), await f.serve('Two')];
    expect(await f.rows('select count(*)::int as n from clusters')).toEqual([{ n: 1 }]);
    const { changeId, message } = f.market.requestChange(one.externalId, { externalPlanId: 'premium' });
    expect(await f.deliver(message)).toMatchObject({ status: 400 });
    await f.settle(20_000);
    expect(f.market.changes.get(changeId)!.status).toBe('failed');
    expect(await f.rows('select state, reason from change_requests')).toMatchObject([
      { state: 'refused', reason: expect.stringContaining('There is no room where this purchase is served') },
    ]);
    const ours = {
      subscriptionId: two.id,
      change: { kind: 'plan' as const, toExternalPlanId: 'premium' },
      reason: 'The buyer asked for it.',
      requestedBy: 'key-1',
      actor: 'operator:key-1',
    };
    await expect(f.db.ops((tx) => requestPublisherChange(f.p, tx, ours))).rejects.toMatchObject({
      kind: 'conflict',
      code: 'change.no_room',
    });
    expect([await planOf(one.id), await planOf(two.id)]).toEqual(['standard', 'standard']);

    shapes(384 * MIB);
    expect(await f.deliver(f.market.requestChange(one.externalId, { externalPlanId: 'premium' }).message)).toMatchObject({ status: 200 });
    await f.settle(60_000);
    expect([await planOf(one.id), await quotaOf(one.id)]).toEqual(['premium', String(256 * MIB)]);
    expect(await findings()).toEqual([]);
  });

  it('and that the marketplace has decided already is carried out, and is a finding until it fits again', async () => {
    const [one] = [await f.serve('One'), await f.serve('Two')];
    await decidedThere(one.externalId);
    expect([await planOf(one.id), await quotaOf(one.id)]).toEqual(['premium', String(256 * MIB)]);
    expect(await findings()).toMatchObject([
      { open: true, evidence: { hardQuotaBytes: String(256 * MIB), mostBytes: String(172 * MIB), cluster: expect.any(String) } },
    ]);
    await look();
    expect((await findings()).map((x) => x.open)).toEqual([true]);
    // Less is never refused, also where there is too little room for it.
    shapes(100 * MIB);
    expect(await f.deliver(f.market.requestChange(one.externalId, { externalPlanId: 'standard' }).message)).toMatchObject({ status: 200 });
    await f.settle(60_000);
    await look();
    expect((await findings()).map((x) => x.open)).toEqual([true]);
    shapes(300 * MIB);
    await look();
    expect((await findings()).map((x) => x.open)).toEqual([false]);
    // What does not fit once more is another finding.
    await decidedThere(one.externalId);
    expect((await findings()).map((x) => x.open)).toEqual([false, true]);
  });
});
