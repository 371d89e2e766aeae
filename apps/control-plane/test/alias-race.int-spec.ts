import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FulfillmentEvent } from '#marketplaces/core';
import { subscriptionIdOf } from '#entitlements';
import { applyEvent } from '../src/processes/normalise-inbound.js';
import { requestPlacement } from '../src/processes/provision-purchase.js';
import { Flows } from './support/flows.js';

const AGREEMENT = { kind: 'agreement', externalId: 'agmt-4711' };

/** A gate that one transaction stands at until the test has seen what the other one does. */
function gate(): { open: () => void; passed: Promise<void> } {
  let open!: () => void;
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { open, passed };
}

describe('a message that knows a purchase by another id, at the same time as the one that brings this id', () => {
  let flows: Flows;
  beforeEach(async () => {
    flows = await Flows.open();
  });
  afterEach(() => flows.close());

  /** Applies the message that names the agreement only, and parks it or not, as the task does. */
  const tellByAlias = async (inboxId: string, before: () => Promise<void>): Promise<void> =>
    flows.db.ops(async (tx) => {
      const outcome = await applyEvent(flows.p, tx, { ...told(), externalSubscriptionId: '', alias: AGREEMENT, truth: null }, inboxId);
      await before();
      const why = outcome.result === 'applied' ? outcome.changes.join() : outcome.why;
      await flows.p.inbox.mark(tx, inboxId, outcome.result === 'parked' && !outcome.subscriptionId ? 'parked' : 'processed', { note: why });
    });
  const told = (): FulfillmentEvent => ({
    kind: 'noted',
    marketplace: 'azure',
    externalSubscriptionId: '',
    occurredAt: flows.clock.now(),
    truth: null,
    note: 'a test',
  });
  const bringAlias = async (externalId: string, before: () => Promise<void>): Promise<void> => {
    const truth = { ...(await flows.market.readTruth(externalId))!, aliases: [AGREEMENT] };
    await flows.db.ops(async (tx) => {
      await applyEvent(flows.p, tx, { ...told(), kind: 'purchased', externalSubscriptionId: externalId, truth }, null);
      await before();
    });
  };
  /** Until a transaction waits for a lock of another, or what is asked for has happened. */
  const waitsOr = async (done: () => boolean): Promise<void> => {
    await expect
      .poll(
        async () => {
          if (done()) return true;
          const waiting = await flows.rows(`select 1 from pg_locks where not granted and locktype = 'advisory'`);
          return waiting.length > 0;
        },
        { timeout: 10_000 },
      )
      .toBe(true);
  };

  it.each(['alias', 'purchase'] as const)('is not left behind, with the %s message ahead', async (ahead) => {
    const { externalSubscriptionId } = flows.market.purchase();
    const body = JSON.stringify({ agreement: AGREEMENT.externalId });
    const inboxId = await flows.db.ops(
      async (tx) =>
        (
          await flows.p.inbox.receive(tx, {
            source: 'azure.webhook',
            naturalKey: 'by-alias',
            contentType: 'application/json',
            headers: {},
            body,
            principal: 'a test',
          })
        ).inboxId,
    );
    const first = gate();
    let firstStands!: () => void;
    const stands = new Promise<void>((resolve) => (firstStands = resolve));
    const hold = (): Promise<void> => (firstStands(), first.passed);
    let secondDone = false;
    const [one, two] =
      ahead === 'alias'
        ? [() => tellByAlias(inboxId, hold), () => bringAlias(externalSubscriptionId, async () => {})]
        : [() => bringAlias(externalSubscriptionId, hold), () => tellByAlias(inboxId, async () => {})];
    const running = one();
    await stands;
    const other = two().then(() => (secondDone = true));
    await waitsOr(() => secondDone);
    first.open();
    await Promise.all([running, other]);

    const [row] = await flows.rows<{ state: string }>('select state from inbox where inbox_id = $1', [inboxId]);
    const again = await flows.rows(`select 1 from tasks where handler = 'inbound.normalise' and payload_ref->>'inboxId' = $1`, [inboxId]);
    // Either it found the purchase itself, or it was parked and then found by the one that brought the id.
    expect([row!.state, again.length]).toEqual(ahead === 'alias' ? ['received', 1] : ['processed', 0]);
  });
});

describe('a placement that is asked for while a renewal takes the place of its purchase', () => {
  it('is not made: the renewal would not know of it, and two would serve one tenant', async () => {
    const flows = await Flows.open();
    try {
      const { externalSubscriptionId } = flows.market.purchase();
      const truth = await flows.market.readTruth(externalSubscriptionId);
      const subscriptionId = subscriptionIdOf('azure', externalSubscriptionId);
      await flows.db.ops(async (tx) => {
        const kind = { kind: 'purchased', marketplace: 'azure', externalSubscriptionId, occurredAt: flows.clock.now() } as const;
        await applyEvent(flows.p, tx, { ...kind, truth, note: 'a test' }, null);
        const place = { purchaseId: subscriptionId, displayName: 'Winter', region: 'here', contact: null };
        await flows.p.subscriptions.bindTenant(tx, subscriptionId, (await flows.p.tenants.ensureForPurchase(tx, place)).tenantId);
      });
      const { open, passed } = gate();
      const held = gate();
      const taking = flows.db.ops(async (tx) => {
        await tx.query(`update subscriptions set state = 'voided', ended_at = $2 where subscription_id = $1`, [
          subscriptionId,
          flows.clock.now(),
        ]);
        held.open();
        await passed;
      });
      await held.passed;
      let isDone = false;
      const asking = requestPlacement(flows.p, { subscriptionId }, { completeIn: () => Promise.resolve() } as never).then(
        () => (isDone = true),
      );
      await expect
        .poll(async () => isDone || (await flows.rows('select 1 from pg_locks where not granted')).length > 0, { timeout: 10_000 })
        .toBe(true);
      open();
      await Promise.all([taking, asking]);
      expect(await flows.rows('select phase from placements')).toEqual([]);
    } finally {
      await flows.close();
    }
  });
});
