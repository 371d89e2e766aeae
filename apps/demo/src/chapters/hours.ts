import type { Purchase } from '../buyers/buyer.js';
import type { Submission, UsageRecord } from '../control-plane.js';
import type { Billed } from '../sandbox.js';
import { decimal, equals } from '../support/decimal.js';
import { until } from '../support/wait.js';
import type { World } from '../world.js';
import { ORDERS } from './buy.js';
import { readSome } from './data.js';

export const HOUR_MS = 3_600_000;
/** Stored bytes are billed in millionths of a GiB-hour. */
const MILLIONTHS = 1_000_000n;

export async function threeHours(w: World): Promise<void> {
  const { report } = w;
  report.chapter('Three hours pass in sampling steps of 5 minutes');
  const tidewater = w.purchase(ORDERS.tidewater.label);
  const meridian = w.purchase(ORDERS.meridian.label);
  for (const [time, reads] of [
    ['08:35', 3],
    ['09:05', 0],
    ['09:35', 2],
    ['10:05', 0],
    ['10:35', 4],
    ['11:05', 0],
  ] as const) {
    await moveTo(w, time);
    if (reads > 0) {
      await readSome(w, tidewater, reads);
      await readSome(w, meridian, reads - 1);
      report.fact(`both read again: ${tidewater.storage.egressBytes} and ${meridian.storage.egressBytes} bytes received so far`);
    }
  }
}

/** Moves business time to `HH:MM`, everybody present. */
export async function moveTo(w: World, time: string): Promise<void> {
  const began = performance.now();
  const { steps, lost, now } = await w.sandbox.advanceTo(w.at(time));
  const took = Math.round(performance.now() - began);
  if (lost.length > 0) throw new Error(`the clock lost ${lost.join(', ')} on the way to ${time}`);
  w.report.fact(`business time ${now.slice(11, 19)}: ${steps} step${steps === 1 ? '' : 's'} in ${took} ms`);
}

export async function recordsAccepted(w: World): Promise<void> {
  const { report } = w;
  report.chapter('The hours are closed and each marketplace accepts their records');
  const hours = ['08:00', '09:00', '10:00'].map((time) => w.at(time));
  const items = await allAccepted(w, w.purchases, hours);
  for (const hour of hours) {
    for (const purchase of w.purchases) {
      const mine = items.filter((item) => Date.parse(item.hour) === hour.getTime() && item.subscriptionId === purchase.subscriptionId);
      const text = mine
        .map((item) => `${item.dimension} ${item.quantity}`)
        .sort()
        .join(', ');
      report.fact(`hour ${hour.toISOString().slice(11, 16)}, ${purchase.label}: ${text}`);
    }
  }
  await accountsMatch(w);
  const meridian = w.purchase(ORDERS.meridian.label);
  await exactStorage(w, meridian, w.at('09:00'));
  await exactStorage(w, meridian, w.at('10:00'));
}

/** Waits until these hours are closed for these purchases and every record up to them has a receipt. */
export async function allAccepted(w: World, purchases: readonly Purchase[], hours: readonly Date[], seconds = 30): Promise<Submission[]> {
  let why = '';
  const end = Math.max(...hours.map((h) => h.getTime())) + HOUR_MS;
  const items = await until(
    `records of ${hours.map((h) => h.toISOString().slice(11, 16)).join(', ')} to be accepted`,
    async () => {
      const submissions = (await w.controlPlane.submissions()).filter(
        (s) => Date.parse(s.hour) < end && purchases.some((p) => p.subscriptionId === s.subscriptionId),
      );
      const keys = new Set(submissions.map(keyOf));
      const missing = purchases
        .flatMap((p) =>
          hours.flatMap((h) =>
            w.buyerOf(p).everyHour.map((d) => keyOf({ subscriptionId: p.subscriptionId, dimension: d, hour: h.toISOString() })),
          ),
        )
        .filter((k) => !keys.has(k));
      const open = submissions.filter((s) => s.state !== 'accepted');
      why = [
        missing.length ? `no record yet: ${missing.slice(0, 4).join('; ')}` : '',
        ...open.slice(0, 4).map((s) => `${s.dimension} of ${s.hour} is ${s.state}`),
      ]
        .filter(Boolean)
        .join('; ');
      return missing.length === 0 && open.length === 0 ? submissions : undefined;
    },
    { seconds, everyMs: 250 },
  ).catch((error: unknown) => {
    throw why ? new Error(`${(error as Error).message} (${why})`) : error;
  });
  const receipts = items.filter((item) => item.receipt);
  w.report.expect('every record was accepted with a receipt', receipts.length === items.length, `${receipts.length} of ${items.length}`);
  return items;
}

const keyOf = (s: Pick<Submission, 'subscriptionId' | 'dimension' | 'hour'>): string =>
  `${s.subscriptionId}|${s.dimension}|${new Date(s.hour).toISOString()}`;

/** Item by item, both ways: what we hold as accepted is what the marketplace will bill, and it bills nothing else. */
export async function accountsMatch(w: World): Promise<void> {
  for (const { marketplace } of w.buyers) {
    const purchases = w.purchases.filter((p) => p.marketplace === marketplace && p.subscriptionId);
    const [submissions, records, billed] = await Promise.all([
      w.controlPlane.submissions(),
      w.controlPlane.records(),
      w.sandbox.billed(marketplace),
    ]);
    const external = new Map(purchases.map((p) => [p.subscriptionId, p.externalId]));
    const record = new Map(records.map((r) => [r.id, r]));
    const accepted = submissions.filter((s) => external.has(s.subscriptionId) && s.state === 'accepted');
    const theirs = new Map<string, Billed[]>();
    for (const item of billed) theirs.set(billedKey(item), [...(theirs.get(billedKey(item)) ?? []), item]);
    const wrong: string[] = [];
    for (const s of accepted) {
      const r = record.get(s.recordId);
      const key = billedKey({ externalId: external.get(s.subscriptionId)!, dimension: s.dimension, hour: s.hour });
      const found = theirs.get(key) ?? [];
      theirs.delete(key);
      if (!r || found.length !== 1 || !sameAs(found[0]!, r))
        wrong.push(
          `${key}: ours ${s.quantity} (${r?.planId ?? 'no record'}), billed ${found.map((b) => `${b.quantity} (${b.planId})`).join(' and ') || 'nothing'}`,
        );
    }
    const extra = [...theirs.keys()];
    w.report.expect(
      `${marketplace} will bill what our ledger holds as accepted, item by item, and each once`,
      wrong.length === 0 && extra.length === 0,
      wrong.length + extra.length === 0
        ? `${accepted.length} records`
        : [...wrong, ...extra.map((k) => `${k} is billed and not ours`)].slice(0, 3).join('; '),
    );
  }
}

const billedKey = (b: Pick<Billed, 'externalId' | 'dimension' | 'hour'>): string =>
  `${b.externalId}|${b.dimension}|${new Date(b.hour).toISOString()}`;
/** AWS knows no plans: it bills a dimension of a licence. */
const sameAs = (b: Billed, r: UsageRecord): boolean =>
  (b.planId === '' || b.planId === r.planId) && equals(decimal(b.quantity), decimal(r.quantity));

/**
 * An hour in which nothing was written holds what the demo wrote earlier, for 3600 s. The record may differ from that by
 * less than one unit of its last place: what is not sent is carried, what was carried is sent.
 */
async function exactStorage(w: World, purchase: Purchase, hour: Date): Promise<void> {
  const record = (await w.controlPlane.records()).find(
    (r) => r.subscriptionId === purchase.subscriptionId && r.meter === 'gib_hours_stored' && Date.parse(r.hour) === hour.getTime(),
  );
  const meter = (await w.controlPlane.sumLaw(purchase.subscriptionId)).find((row) => row.meter === 'gib_hours_stored');
  if (!record || !meter) throw new Error(`${purchase.label} has no stored hour ${hour.toISOString()}`);
  const base = purchase.storage.storedBytes * BigInt(HOUR_MS) * 1000n;
  const per = BigInt(meter.basePerUnit);
  const { digits, scale } = decimal(record.quantity);
  const off = (digits * per * MILLIONTHS) / 10n ** BigInt(scale) - base * MILLIONTHS;
  w.report.expect(
    `${purchase.label}'s stored bytes of ${hour.toISOString().slice(11, 16)} are those that were written`,
    off < per && -off < per,
    `${record.quantity} ${meter.listedUnit} = ${purchase.storage.storedBytes} bytes for an hour`,
  );
}
