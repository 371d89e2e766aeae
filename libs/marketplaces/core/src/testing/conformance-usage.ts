import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { equalDecimals, sumDecimals } from '#platform';
import { MarketplaceBusy, type UsageWireItem } from '../index.js';
import type { ConformanceBench } from './conformance-bench.js';
import { LOST_ANSWERS } from './harness.js';

const HOUR = 3_600_000;
const SETTLED = ['accepted', 'duplicate_equal'];

/** The part of the suite that is about usage. */
export function describeUsage(bench: ConformanceBench): void {
  const { active, billedSum, item, quantity, send } = bench;

  describe('usage', () => {
    it('is accepted and billed to the last digit', async () => {
      const purchase = await active();
      const [first, second] = await send(item(purchase, 1, quantity(7)), item(purchase, 2, '3'));
      expect(first).toMatchObject({ outcome: 'accepted' });
      expect(second).toMatchObject({ outcome: 'accepted' });
      expect(equalDecimals((first as { acceptedQuantity: string }).acceptedQuantity, quantity(7))).toBe(true);
      expect(await billedSum(purchase)).toBe(sumDecimals([quantity(7), '3']));
    });

    it('keeps the bytes of an item', async () => {
      const purchase = await active();
      const id = randomUUID();
      expect(item(purchase, 1, quantity(7), 0, id)).toEqual(item(purchase, 1, quantity(7), 0, id));
      expect(bench.adapter.batchKey(item(purchase, 1, quantity(7), 0, id))).toBe(
        bench.adapter.batchKey(item(purchase, 1, quantity(7), 0, id)),
      );
    });

    it('is not built from what the marketplace would refuse', async () => {
      const purchase = await active();
      for (const amount of [
        '-1',
        'NaN',
        '',
        `0.${'0'.repeat(bench.adapter.usage.maxDecimals)}1`,
        ...(bench.adapter.usage.zeroWanted ? [] : ['0']),
      ]) {
        expect(() => item(purchase, 1, amount), amount).toThrow();
      }
    });

    it('sent twice is billed once', async () => {
      if (!bench.adapter.usage.safeResend) return;
      const purchase = await active();
      const one = item(purchase, 1, quantity(5));
      await send(one);
      const [again] = await send(one);
      expect(SETTLED).toContain(again!.outcome);
      expect(await billedSum(purchase)).toBe(sumDecimals([quantity(5)]));
    });

    it('of another quantity under a known key is a conflict with their number', async () => {
      if (!bench.h.detectsConflicts) return;
      const purchase = await active();
      const id = randomUUID();
      await send(item(purchase, 1, quantity(5), 0, id));
      const [conflict] = await send(item(purchase, 1, quantity(6), 0, id));
      expect(conflict).toMatchObject({ outcome: 'duplicate_conflict' });
      const theirs = (conflict as { acceptedQuantity: string | null }).acceptedQuantity;
      if (theirs !== null) expect(equalDecimals(theirs, quantity(5))).toBe(true);
      expect(await billedSum(purchase)).toBe(sumDecimals([quantity(5)]));
    });

    it.each(LOST_ANSWERS)('whose answer is lost (%s) is unknown for every item, and settled by sending it again', async (how) => {
      if (!bench.adapter.usage.safeResend) return;
      const purchase = await active();
      const items = [item(purchase, 1, quantity(2)), item(purchase, 2, quantity(3))];
      await bench.h.loseUsageAnswer(how);
      expect((await send(...items)).map((o) => o.outcome)).toEqual(['unknown', 'unknown']);
      for (const outcome of await send(...items)) expect(SETTLED).toContain(outcome.outcome);
      expect(await billedSum(purchase)).toBe(sumDecimals([quantity(2), quantity(3)]));
    });

    it('that is throttled has not happened and may come again', async () => {
      const purchase = await active();
      const one = item(purchase, 1, quantity(4));
      await bench.h.throttleUsage();
      await expect(bench.adapter.submitUsage([one])).rejects.toBeInstanceOf(MarketplaceBusy);
      expect(await bench.h.billed(purchase)).toEqual([]);
      expect((await send(one))[0]).toMatchObject({ outcome: 'accepted' });
    });

    it('gets each item its own outcome, wherever it stands in the batch', async () => {
      const purchase = await active();
      const [early] = [item(purchase, 3, quantity(1))];
      await send(early!);
      const items = [
        item(purchase, 4, quantity(40)),
        item(purchase, 3, quantity(1), 1),
        item(purchase, 5, quantity(50)),
        ...(bench.adapter.usage.safeResend ? [early!] : []),
      ];
      for (const order of [items, [...items].reverse()]) {
        const outcomes = await send(...order);
        if (order === items) expect(outcomes.slice(0, 3).map((o) => o.outcome)).toEqual(['accepted', 'accepted', 'accepted']);
        for (const [i, outcome] of outcomes.entries()) {
          if (!SETTLED.includes(outcome.outcome)) continue;
          const sent = { 3: quantity(1), 4: quantity(40), 5: quantity(50) } as Record<number, string>;
          const hour = [3, 4, 5].find((n) => [0, 1].some((d) => item(purchase, n, sent[n]!, d, order[i]!.itemId).body === order[i]!.body));
          expect(equalDecimals((outcome as { acceptedQuantity: string }).acceptedQuantity, sent[hour!]!)).toBe(true);
        }
        if (!bench.adapter.usage.safeResend) break;
      }
    });

    it('goes out in whole batches', async () => {
      const purchase = await active();
      const count = Math.min(bench.adapter.usage.batchSize, bench.h.closedHours * 2);
      const items = Array.from({ length: count }, (_, i) => item(purchase, 1 + Math.floor(i / 2), quantity(i + 1), i % 2));
      const keys = new Map(items.map((one) => [bench.adapter.batchKey(one), [] as UsageWireItem[]]));
      for (const one of items) keys.get(bench.adapter.batchKey(one))!.push(one);
      for (const batch of keys.values()) expect(new Set((await send(...batch)).map((o) => o.outcome))).toEqual(new Set(['accepted']));
      expect(await billedSum(purchase)).toBe(sumDecimals(items.map((_, i) => quantity(i + 1))));
    });

    it('reads back as the sum of what was accepted', async () => {
      if (!bench.adapter.readBack) return;
      const purchase = await active();
      const outcomes = await send(
        item(purchase, 1, quantity(1)),
        item(purchase, 2, quantity(2)),
        item(purchase, 3, quantity(3)),
        item(purchase, 1, quantity(9), 1),
      );
      expect(outcomes.map((o) => o.outcome)).toEqual(Array(4).fill('accepted'));
      const lines = await bench.adapter.readBack({
        from: bench.h.closedHour(purchase, 3),
        to: bench.h.clock.now(),
        externalSubscriptionId: purchase.externalSubscriptionId,
      });
      const sum = (dimension: string): string => sumDecimals(lines.filter((l) => l.dimension === dimension).map((l) => l.quantity));
      expect(sum(purchase.dimensions[0])).toBe(sumDecimals([quantity(1), quantity(2), quantity(3)]));
      expect(sum(purchase.dimensions[1])).toBe(sumDecimals([quantity(9)]));
      expect(
        lines.every((l) => l.externalSubscriptionId === purchase.externalSubscriptionId && l.externalPlanId === purchase.externalPlanId),
      ).toBe(true);
    });

    it('has a target that is not after its last moment, and a last moment after the hour', () => {
      for (const start of ['2026-03-08T07:00:00Z', '2026-03-31T23:00:00Z', '2026-11-01T05:00:00Z', '2026-02-28T22:00:00Z']) {
        const hourStart = new Date(start);
        const hourEnd = new Date(hourStart.getTime() + HOUR);
        for (const endedAt of [null, new Date(hourStart.getTime() + HOUR / 2), hourEnd]) {
          const { target, hard } = bench.adapter.deadlines({ hourStart, hourEnd, endedAt });
          expect(target.getTime(), `${start} ${endedAt?.toISOString()}`).toBeLessThanOrEqual(hard.getTime());
          expect(hard.getTime()).toBeGreaterThan(endedAt ? endedAt.getTime() : hourEnd.getTime());
        }
      }
    });
  });
}
