import type { Purchase } from '../buyers/buyer.js';
import type { UsageRecord } from '../control-plane.js';
import { decimal, isExactly } from '../support/decimal.js';
import { refusalOf } from '../support/storage.js';
import { until } from '../support/wait.js';
import type { World } from '../world.js';
import { ORDERS } from './buy.js';
import { CONTAINER, LARGE, mib, readSome, storageLimit } from './data.js';
import { accountsMatch, allAccepted, HOUR_MS, moveTo } from './hours.js';

/** The plan changes inside hour 12. */
export async function changePlan(w: World): Promise<void> {
  const { report } = w;
  report.chapter('A plan changes inside an hour');
  const purchase = w.purchase(ORDERS.tidewater.label);
  const buyer = w.buyerOf(purchase);
  // Read under the old plan, and sampled before the cut.
  await readSome(w, purchase, 2);
  await moveTo(w, '12:20');
  const before = await storageLimit(w, purchase);
  await buyer.changePlan(purchase.externalId, 'premium');
  const quota = await until('the quota of the new plan', async () => {
    const limit = await storageLimit(w, purchase).catch(() => before);
    return limit !== before ? limit : undefined;
  });
  report.expect('the quota follows the plan', quota > before, `${mib(before)} MiB on standard, ${mib(quota)} MiB on premium`);
  const mine = await w.controlPlane.subscription(purchase.subscriptionId);
  report.equal('the subscription is on the plan', mine.planId, 'premium');
  // What was refused under the old plan; the cell gets its new limit a moment after the quota.
  const content = w.random.bytes(`${purchase.label}/${LARGE.name}`, LARGE.bytes);
  await until(
    'the cell to take the write that the old plan had no room for',
    async () => (await refusalOf(purchase.storage.write(CONTAINER, LARGE.name, content, true))).status === 200,
    { everyMs: 300 },
  );
  purchase.blobs.set(LARGE.name, LARGE.bytes);
  report.expect(
    'the write that was refused is taken now',
    true,
    `${mib(LARGE.bytes)} MiB, ${mib(purchase.storage.storedBytes)} MiB stored`,
  );
  await readSome(w, purchase, 2);
  await moveTo(w, '14:05');
  await allAccepted(w, w.purchases, [w.at('12:00'), w.at('13:00')]);
  await partsOfTheHour(w, before, quota);
  await accountsMatch(w);
}

/** Azure takes one event per hour and dimension: the old plan's part of the hour goes out, the new one's waits for the next hour. */
async function partsOfTheHour(w: World, oldQuota: bigint, newQuota: bigint): Promise<void> {
  const { report } = w;
  const purchase = w.purchase(ORDERS.tidewater.label);
  const records = (await w.controlPlane.records()).filter((r) => r.subscriptionId === purchase.subscriptionId);
  const at = (hour: Date): UsageRecord[] => records.filter((r) => Date.parse(r.hour) === hour.getTime());
  const old = at(w.at('12:00'));
  const next = at(w.at('13:00'));
  report.expect(
    'hour 12 went out under the old plan',
    old.length > 0 && old.every((r) => r.planId === 'standard'),
    old.map((r) => `${r.dimension} ${r.quantity} ${r.planId}`).join(', '),
  );
  report.expect(
    'hour 13 went out under the new one',
    next.length > 0 && next.every((r) => r.planId === 'premium'),
    next.map((r) => `${r.dimension} ${r.quantity} ${r.planId}`).join(', '),
  );
  const cut = Date.parse(old[0]!.endsAt);
  report.expect(
    'the old part ends at the cut',
    old.every((r) => Date.parse(r.endsAt) === cut) && cut > w.at('12:20').getTime() && cut < w.at('13:00').getTime(),
    new Date(cut).toISOString(),
  );

  const provisioned = (rows: UsageRecord[]): UsageRecord => rows.find((r) => r.meter === 'gib_hours_provisioned')!;
  const meter = (await w.controlPlane.sumLaw(purchase.subscriptionId)).find((row) => row.meter === 'gib_hours_provisioned')!;
  const per = BigInt(meter.basePerUnit);
  // Nothing of the new segment was sent before: hour 13 holds its part of hour 12 and the whole of hour 13.
  const wanted = newQuota * BigInt(w.at('14:00').getTime() - cut) * 1000n;
  const deferred = newQuota * BigInt(w.at('13:00').getTime() - cut) * 1000n;
  const sent = decimal(provisioned(next).quantity);
  const millionths = (wanted * 1_000_000n) / per;
  report.expect(
    'the new part of hour 12 was deferred into hour 13, to the last unit',
    isExactly(sent, per, (millionths * per) / 1_000_000n) && wanted > deferred,
    `${provisioned(next).quantity} ${meter.listedUnit} = ${mib(newQuota)} MiB from ${new Date(cut).toISOString().slice(11, 23)} to 14:00`,
  );
  const oldHour = oldQuota * BigInt(HOUR_MS) * 1000n;
  const oldSent = decimal(provisioned(old).quantity);
  report.expect(
    "and hour 12 holds no more than the old plan's part",
    oldSent.digits * per < oldHour * 10n ** BigInt(oldSent.scale),
    `${provisioned(old).quantity} ${meter.listedUnit}`,
  );
}

/** Google and AWS give one hour to report what is left after an end inside hour 14. */
export async function endElsewhere(w: World): Promise<void> {
  await endAt(w, ORDERS.breakwater.label, 'A Google entitlement is cancelled', '14:06');
  await endAt(w, ORDERS.northfjord.label, 'An AWS agreement ends', '14:08');
}

async function endAt(w: World, label: string, title: string, time: string): Promise<void> {
  const { report } = w;
  const purchase = w.purchase(label);
  report.chapter(title);
  await moveTo(w, time);
  await readSome(w, purchase, 1);
  await w.buyerOf(purchase).cancel(purchase.externalId);
  await accessEnds(w, purchase);
  const ended = await until(
    'its usage to be settled',
    async () => {
      const one = await w.controlPlane.subscription(purchase.subscriptionId);
      return one.state === 'cancelled' ? one : undefined;
    },
    { seconds: 20 },
  );
  const final = (await w.controlPlane.submissions()).filter(
    (s) => s.subscriptionId === purchase.subscriptionId && Date.parse(s.hour) === w.at('14:00').getTime(),
  );
  report.expect(
    'the final hour was reported inside the window after the end, and then the purchase was cancelled',
    final.length >= 2 && final.every((s) => s.state === 'accepted'),
    `${final.map((s) => `${s.dimension.split('/').at(-1) ?? ''} ${s.quantity}`).join(', ')}; ended ${ended.endedAt ?? '-'}`,
  );
}

async function accessEnds(w: World, purchase: Purchase): Promise<void> {
  const name = [...purchase.blobs.keys()][0]!;
  // Looks without a body: an answer that the cut breaks off would be counted by the gateway and not by us. The cut also breaks
  // off the look that is on its way at that very moment; the next one is answered.
  await until('access to end', async () => (await refusalOf(purchase.storage.look(CONTAINER, name))).status !== 200, {
    everyMs: 50,
    tolerate: true,
  });
  const { status, code } = await refusalOf(purchase.storage.read(CONTAINER, name));
  w.report.expect('access ends at the cut', status === 403, `${status} ${code}`);
}

/** The purchase ends inside hour 14. */
export async function endPurchase(w: World): Promise<void> {
  const { report } = w;
  report.chapter('The purchase is cancelled');
  const purchase = w.purchase(ORDERS.tidewater.label);
  await moveTo(w, '14:10');
  await readSome(w, purchase, 1);
  await w.buyerOf(purchase).cancel(purchase.externalId);
  await accessEnds(w, purchase);
  const other = w.purchase(ORDERS.meridian.label);
  await readSome(w, other, 1);
  report.fact(`${other.label}, on the same cell, reads on`);

  await moveTo(w, '15:05');
  const ended = await until(
    'the purchase to be cancelled',
    async () => {
      const one = await w.controlPlane.subscription(purchase.subscriptionId);
      return one.state === 'cancelled' ? one : undefined;
    },
    { seconds: 20 },
  ).catch(async (error: unknown) => {
    const { state } = await w.controlPlane.subscription(purchase.subscriptionId);
    throw new Error(`${(error as Error).message} (it is ${state})`);
  });
  const records = (await w.controlPlane.records()).filter(
    (r) => r.subscriptionId === purchase.subscriptionId && Date.parse(r.hour) === w.at('14:00').getTime(),
  );
  const items = (await w.controlPlane.submissions()).filter((s) => records.some((r) => r.id === s.recordId));
  report.expect(
    'the final hour was closed at the cut',
    records.length >= 2 && records.every((r) => r.endsAt === ended.endedAt),
    `${records.map((r) => `${r.dimension} ${r.quantity}`).join(', ')} until ${ended.endedAt ?? '-'}`,
  );
  report.expect('and settled', items.length === records.length && items.every((s) => s.state === 'accepted'), `${items.length} accepted`);
  const settled = items.map((s) => Date.parse(s.settledAt ?? ''));
  report.expect(
    'only then the purchase was cancelled',
    settled.every((at) => at <= Date.parse(ended.updatedAt)),
    `usage settled by ${new Date(Math.max(...settled)).toISOString()}, cancelled at ${ended.updatedAt}`,
  );
}
