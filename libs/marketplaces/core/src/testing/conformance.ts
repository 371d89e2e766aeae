/** The suite that each marketplace adapter passes, the in-memory fake too. For tests only. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MarketplaceAdapter, SubscriptionTruth } from '../index.js';
import { ConformanceBench } from './conformance-bench.js';
import { describeUsage } from './conformance-usage.js';
import type { MarketplaceHarness } from './harness.js';

/** Registers the suite with vitest. Each test buys for itself. */
export function describeMarketplaceConformance(name: string, makeHarness: () => Promise<MarketplaceHarness>): void {
  describe(`marketplace conformance: ${name}`, () => {
    const bench = new ConformanceBench();
    const { active, truthOf } = bench;
    let h: MarketplaceHarness;
    let adapter: MarketplaceAdapter;

    beforeAll(async () => {
      h = bench.h = await makeHarness();
      adapter = h.adapter;
    });
    afterAll(() => h?.dispose());

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

    describeUsage(bench);

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
