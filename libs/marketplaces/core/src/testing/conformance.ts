/** The suite that each marketplace adapter passes, the in-memory fake too. For tests only. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { equalDecimals, sumDecimals } from '#platform';
import { MarketplaceBusy, type MarketplaceAdapter, type SubscriptionTruth, type UsageItemOutcome, type UsageWireItem } from '../index.js';
import { LOST_ANSWERS, type MarketplaceHarness, type TestPurchase } from './harness.js';

const HOUR = 3_600_000;
const SETTLED = ['accepted', 'duplicate_equal'];

/** Registers the suite with vitest. Each test buys for itself. */
export function describeMarketplaceConformance(name: string, makeHarness: () => Promise<MarketplaceHarness>): void {
  describe(`marketplace conformance: ${name}`, () => {
    let h: MarketplaceHarness;
    let adapter: MarketplaceAdapter;

    beforeAll(async () => {
      h = await makeHarness();
      adapter = h.adapter;
    });
    afterAll(() => h?.dispose());

    const truthOf = async (purchase: TestPurchase): Promise<SubscriptionTruth> => {
      const truth = await adapter.readTruth(purchase.externalSubscriptionId, purchase.refs);
      if (!truth) throw new Error('the purchase cannot be read');
      return truth;
    };
    const active = async (): Promise<TestPurchase> => {
      const purchase = await h.purchase();
      await adapter.acknowledge(await truthOf(purchase), { tenantId: randomUUID() });
      return { ...purchase, refs: (await truthOf(purchase)).refs };
    };
    const quantity = (n: number): string => (adapter.usage.maxDecimals >= 6 ? `${n}.187500` : String(n));
    const item = (purchase: TestPurchase, hour: number, amount: string, dimension = 0, itemId: string = randomUUID()): UsageWireItem => {
      const hourStart = h.closedHour(purchase, hour);
      return adapter.buildUsageItem({
        itemId,
        externalSubscriptionId: purchase.externalSubscriptionId,
        externalPlanId: purchase.externalPlanId,
        dimension: purchase.dimensions[dimension]!,
        hourStart,
        startsAt: hourStart,
        endsAt: new Date(hourStart.getTime() + HOUR),
        quantity: amount,
        refs: purchase.refs,
      });
    };
    const send = async (...items: UsageWireItem[]): Promise<UsageItemOutcome[]> => {
      const outcomes = await adapter.submitUsage(items);
      expect(new Set(outcomes.map((o) => o.itemId)), 'one outcome for each item').toEqual(new Set(items.map((i) => i.itemId)));
      expect(outcomes).toHaveLength(items.length);
      return items.map((i) => outcomes.find((o) => o.itemId === i.itemId)!);
    };
    const billedSum = async (purchase: TestPurchase): Promise<string> => sumDecimals((await h.billed(purchase)).map((b) => b.quantity));

    describe('a purchase', () => {
      it('resolves alike each time it lands', async () => {
        const { landing, externalSubscriptionId } = await h.purchase();
        if (!landing) return;
        const [first, second] = [await adapter.resolveLanding(landing), await adapter.resolveLanding(landing)];
        expect(first.ok && second.ok).toBe(true);
        if (!first.ok || !second.ok) return;
        expect(first.truth.externalSubscriptionId).toBe(externalSubscriptionId);
        expect({ ...second.truth, observedAt: null }).toEqual({ ...first.truth, observedAt: null });
        expect(second.buyerAccountId).toBe(first.buyerAccountId);
      });

      it('does not resolve from nothing, nor from a token nobody issued', async () => {
        const { landing } = await h.purchase();
        if (!landing) return;
        expect(await adapter.resolveLanding({})).toMatchObject({ ok: false, code: 'landing.token_missing' });
        const spoilt = Object.fromEntries(Object.keys(landing).map((field) => [field, 'bm90LWEtdG9rZW4']));
        const answer = await adapter.resolveLanding(spoilt);
        expect(answer.ok).toBe(false);
      });

      it('reads as its marketplace sees it, and as null where there is none', async () => {
        const purchase = await h.purchase();
        const truth = await truthOf(purchase);
        expect(truth).toMatchObject({
          marketplace: adapter.marketplace,
          externalSubscriptionId: purchase.externalSubscriptionId,
          externalPlanId: purchase.externalPlanId,
        });
        expect(
          await adapter.readTruth(
            purchase.externalSubscriptionId.replace(/[0-9a-f]{6}$/, (end) => (end === '000000' ? '000001' : '000000')),
            {},
          ),
        ).toBeNull();
      });

      it('is active after being acknowledged, and a second time changes nothing', async () => {
        const purchase = await h.purchase();
        const before = await truthOf(purchase);
        await adapter.acknowledge(before, { tenantId: randomUUID() });
        const once = await truthOf(purchase);
        expect(once.state).toBe('active');
        await adapter.acknowledge(before, { tenantId: randomUUID() });
        await adapter.acknowledge(once, { tenantId: randomUUID() });
        expect({ ...(await truthOf(purchase)), observedAt: null }).toEqual({ ...once, observedAt: null });
      });

      it('is among those that are listed', async () => {
        if (!adapter.listAll) return;
        const purchase = await active();
        const listed: SubscriptionTruth[] = [];
        for await (const truth of adapter.listAll()) listed.push(truth);
        expect(listed.filter((t) => t.externalSubscriptionId === purchase.externalSubscriptionId)).toMatchObject([
          { state: 'active', externalPlanId: purchase.externalPlanId },
        ]);
      });
    });

    describe('a message', () => {
      it('of the marketplace is taken, with one key however often it comes', async () => {
        const purchase = await active();
        const { request, stored } = await h.end(purchase);
        if (!request || !adapter.verifyInbound) return;
        const [first, second] = [await adapter.verifyInbound(request), await adapter.verifyInbound(request)];
        expect(first).toMatchObject({ ok: true, source: stored.source, naturalKey: stored.naturalKey });
        expect(second).toEqual(first);
      });

      it('of anybody else is refused', async () => {
        if (!h.forgeries || !adapter.verifyInbound) return;
        const forgeries = await h.forgeries(await active());
        expect(forgeries.length).toBeGreaterThan(0);
        for (const { what, request } of forgeries) {
          const verdict = await adapter.verifyInbound(request);
          expect(verdict.ok, what).toBe(false);
          // 503 asks a genuine sender whose body came broken to send it again; nothing is acted on either way.
          if (!verdict.ok) expect([400, 401, 403, 413, 503], what).toContain(verdict.status);
        }
      });

      it('with an unknown action is noted and changes nothing', async () => {
        const purchase = await active();
        const before = await truthOf(purchase);
        const { stored } = await h.unknownMessage(purchase);
        const events = await adapter.normalise(stored);
        expect(events.map((e) => e.kind)).toEqual(['noted']);
        expect((await truthOf(purchase)).state).toBe(before.state);
      });

      it('of the end becomes the end, alike each time', async () => {
        const purchase = await active();
        const { stored } = await h.end(purchase);
        const [first, second] = [await adapter.normalise(stored), await adapter.normalise(stored)];
        const ended = first.find((e) => e.kind === 'ended');
        expect(ended).toMatchObject({ externalSubscriptionId: purchase.externalSubscriptionId, marketplace: adapter.marketplace });
        expect(ended?.effectiveAt).toBeInstanceOf(Date);
        const timeless = (events: typeof first): unknown =>
          events.map((e) => ({ ...e, truth: e.truth && { ...e.truth, observedAt: null } }));
        expect(timeless(second)).toEqual(timeless(first));
      });
    });

    describe('a change', () => {
      for (const accept of [true, false]) {
        it(`is ${accept ? 'in force after a yes' : 'not in force after a no'}, also when we answer twice`, async () => {
          if (!h.requestPlan || !adapter.answerChange) return;
          const purchase = await active();
          const { message, toExternalPlanId } = await h.requestPlan(purchase);
          if (message.request && adapter.verifyInbound)
            expect(await adapter.verifyInbound(message.request)).toMatchObject({ ok: true, decisionWanted: true });
          const [event] = await adapter.normalise(message.stored);
          expect(event).toMatchObject({ kind: 'change_requested', change: { kind: 'plan', toExternalPlanId, requestedByUs: false } });
          for (let i = 0; i < 2; i += 1) await adapter.answerChange(event!.truth!, event!.change!, { accept, reason: 'for a test' });
          expect((await truthOf(purchase)).externalPlanId).toBe(accept ? toExternalPlanId : purchase.externalPlanId);
          const status = adapter.decisionAnswer?.({ accept, reason: 'for a test' }).status;
          if (status !== undefined) expect(status >= 200 && status < 300).toBe(accept);
        });
      }
    });

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
        expect(adapter.batchKey(item(purchase, 1, quantity(7), 0, id))).toBe(adapter.batchKey(item(purchase, 1, quantity(7), 0, id)));
      });

      it('is not built from what the marketplace would refuse', async () => {
        const purchase = await active();
        for (const amount of ['-1', 'NaN', '', `0.${'0'.repeat(adapter.usage.maxDecimals)}1`, ...(adapter.usage.zeroWanted ? [] : ['0'])]) {
          expect(() => item(purchase, 1, amount), amount).toThrow();
        }
      });

      it('sent twice is billed once', async () => {
        if (!adapter.usage.safeResend) return;
        const purchase = await active();
        const one = item(purchase, 1, quantity(5));
        await send(one);
        const [again] = await send(one);
        expect(SETTLED).toContain(again!.outcome);
        expect(await billedSum(purchase)).toBe(sumDecimals([quantity(5)]));
      });

      it('of another quantity under a known key is a conflict with their number', async () => {
        if (!h.detectsConflicts) return;
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
        if (!adapter.usage.safeResend) return;
        const purchase = await active();
        const items = [item(purchase, 1, quantity(2)), item(purchase, 2, quantity(3))];
        await h.loseUsageAnswer(how);
        expect((await send(...items)).map((o) => o.outcome)).toEqual(['unknown', 'unknown']);
        for (const outcome of await send(...items)) expect(SETTLED).toContain(outcome.outcome);
        expect(await billedSum(purchase)).toBe(sumDecimals([quantity(2), quantity(3)]));
      });

      it('that is throttled has not happened and may come again', async () => {
        const purchase = await active();
        const one = item(purchase, 1, quantity(4));
        await h.throttleUsage();
        await expect(adapter.submitUsage([one])).rejects.toBeInstanceOf(MarketplaceBusy);
        expect(await h.billed(purchase)).toEqual([]);
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
          ...(adapter.usage.safeResend ? [early!] : []),
        ];
        for (const order of [items, [...items].reverse()]) {
          const outcomes = await send(...order);
          if (order === items) expect(outcomes.slice(0, 3).map((o) => o.outcome)).toEqual(['accepted', 'accepted', 'accepted']);
          for (const [i, outcome] of outcomes.entries()) {
            if (!SETTLED.includes(outcome.outcome)) continue;
            const sent = { 3: quantity(1), 4: quantity(40), 5: quantity(50) } as Record<number, string>;
            const hour = [3, 4, 5].find((n) =>
              [0, 1].some((d) => item(purchase, n, sent[n]!, d, order[i]!.itemId).body === order[i]!.body),
            );
            expect(equalDecimals((outcome as { acceptedQuantity: string }).acceptedQuantity, sent[hour!]!)).toBe(true);
          }
          if (!adapter.usage.safeResend) break;
        }
      });

      it('goes out in whole batches', async () => {
        const purchase = await active();
        const count = Math.min(adapter.usage.batchSize, h.closedHours * 2);
        const items = Array.from({ length: count }, (_, i) => item(purchase, 1 + Math.floor(i / 2), quantity(i + 1), i % 2));
        const keys = new Map(items.map((one) => [adapter.batchKey(one), [] as UsageWireItem[]]));
        for (const one of items) keys.get(adapter.batchKey(one))!.push(one);
        for (const batch of keys.values()) expect(new Set((await send(...batch)).map((o) => o.outcome))).toEqual(new Set(['accepted']));
        expect(await billedSum(purchase)).toBe(sumDecimals(items.map((_, i) => quantity(i + 1))));
      });

      it('reads back as the sum of what was accepted', async () => {
        if (!adapter.readBack) return;
        const purchase = await active();
        const outcomes = await send(
          item(purchase, 1, quantity(1)),
          item(purchase, 2, quantity(2)),
          item(purchase, 3, quantity(3)),
          item(purchase, 1, quantity(9), 1),
        );
        expect(outcomes.map((o) => o.outcome)).toEqual(Array(4).fill('accepted'));
        const lines = await adapter.readBack({
          from: h.closedHour(purchase, 3),
          to: h.clock.now(),
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
            const { target, hard } = adapter.deadlines({ hourStart, hourEnd, endedAt });
            expect(target.getTime(), `${start} ${endedAt?.toISOString()}`).toBeLessThanOrEqual(hard.getTime());
            expect(hard.getTime()).toBeGreaterThan(endedAt ? endedAt.getTime() : hourEnd.getTime());
          }
        }
      });
    });

    it('tells by its doctor what is wrong and what to do', async () => {
      const checks = await adapter.doctor();
      expect(checks.length).toBeGreaterThan(0);
      for (const check of checks) {
        expect(check.result, check.detail).not.toBe('fail');
        if (check.result !== 'pass') expect(check.remedy, check.check).toBeTruthy();
      }
    });
  });
}
