import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { getPublisherChange, type PublisherChangeRow } from '#entitlements';
import { MarketplaceRefusal, type PublisherChange } from '#marketplaces/core';
import { eventually, gate, lockWaiters } from '#platform/testing';
import { requestPublisherChange } from '../src/processes/publisher-change.js';
import { Flows } from './support/flows.js';

describe('a change that partner operations ask for', () => {
  let f: Flows;
  let id: string;
  let externalId: string;
  beforeEach(async () => {
    f = await Flows.open();
    ({ id, externalId } = await f.serve());
  });
  afterEach(() => f?.close());

  const ask = (change: PublisherChange): Promise<PublisherChangeRow> =>
    f.db.ops((tx) =>
      requestPublisherChange(f.p, tx, {
        subscriptionId: id,
        change,
        reason: 'agreed by phone',
        requestedBy: 'a-key',
        actor: 'operator:a-key',
      }),
    );
  const toPremium: PublisherChange = { kind: 'plan', toExternalPlanId: 'premium' };
  const read = async (row: PublisherChangeRow): Promise<PublisherChangeRow> =>
    (await f.db.ops((tx) => getPublisherChange(tx, row.publisher_change_id)))!;
  const planOf = async (): Promise<string> => (await f.db.ops((tx) => f.p.subscriptions.get(tx, id))).externalPlanId;
  const asked = (): number => f.market.calls.filter((c) => c.operation === 'startPublisherChange').length;

  it('is asked for once, polled until the marketplace says how it ended, and only then in force here', async () => {
    const row = await ask(toPremium);
    await f.settle(60_000);
    expect(await read(row)).toMatchObject({ state: 'sent', external_operation_id: f.market.publisherChanges.pending()[0] });
    expect(await planOf()).toBe('standard');
    f.market.publisherChanges.settle(f.market.publisherChanges.pending()[0]!, 'succeeded');
    await f.settle(10_000);
    expect(await read(row)).toMatchObject({ state: 'succeeded', error_code: null });
    expect(await planOf()).toBe('premium');
    expect(asked()).toBe(1);
    const calls = await f.rows<{ state: string; intent: { reason: string } }>(
      `select state, intent from calls where operation = 'changeSubscription'`,
    );
    expect(calls).toMatchObject([{ state: 'ok', intent: { reason: 'agreed by phone', requestedBy: 'a-key' } }]);
  });

  it('ends while another one is asked for: neither waits for the other for ever, and the second is told that one is under way', async () => {
    await ask(toPremium);
    await f.settle(60_000);
    f.market.publisherChanges.settle(f.market.publisherChanges.pending()[0]!, 'succeeded');
    const [held, open] = [gate(), gate()];
    // Whoever asks holds the purchase first, and looks for changes under way then.
    const second = f.db.ops(async (tx) => {
      await f.p.subscriptions.lock(tx, id);
      held.open();
      await open.opened;
      return requestPublisherChange(f.p, tx, {
        subscriptionId: id,
        change: { kind: 'cancel' },
        reason: 'no',
        requestedBy: 'a-key',
        actor: 'operator:a-key',
      });
    });
    await held.opened;
    const ended = f.settle(10_000);
    await eventually('the task waits for the purchase', async () => (await lockWaiters(f.db)) > 0);
    open.open();
    await expect(second).rejects.toMatchObject({ code: 'change.under_way' });
    await ended;
    expect(await planOf()).toBe('premium');
    // Its last run was its only one that counts: it was not broken off.
    expect(await f.rows(`select attempts from tasks where handler = 'publisher_change.run'`)).toEqual([{ attempts: 1 }]);
  });

  it('whose answer was lost is found there by the next run, and not asked for a second time', async () => {
    f.market.failNext('startPublisherChange', 'lost');
    const row = await ask(toPremium);
    await f.settle(10_000);
    expect(f.market.publisherChanges.pending()).toHaveLength(1);
    f.market.publisherChanges.settle(f.market.publisherChanges.pending()[0]!, 'succeeded');
    await f.settle(10_000);
    expect((await read(row)).state).toBe('succeeded');
    expect(f.market.publisherChanges.pending()).toEqual([]);
  });

  it('whose answer was lost is looked for during a minute before it may be asked for again', async () => {
    f.market.failNext('startPublisherChange', 'unknown');
    const row = await ask(toPremium);
    await f.settle(40_000);
    expect([asked(), (await read(row)).error_code]).toEqual([0, 'change.answer_lost']);
    await f.settle(40_000);
    expect([asked(), (await read(row)).state, (await read(row)).error_code]).toEqual([1, 'sent', null]);
  });

  it('is given up for a person after a day in which every answer was lost', async () => {
    f.market.failNext('startPublisherChange', 'unknown', { times: 2_000 });
    const row = await ask(toPremium);
    await f.settle(10_000);
    f.clock.set(new Date(f.clock.now().getTime() + 25 * 3_600_000));
    await f.settle(10_000);
    expect(await read(row)).toMatchObject({ state: 'unknown', error_code: 'change.never_answered' });
  });

  it('is not refused by credentials that are refused: it goes on once they are mended', async () => {
    const row = await ask(toPremium);
    await f.settle(1_000);
    const poll = f.market.readPublisherChange.bind(f.market);
    f.market.readPublisherChange = () => Promise.reject(new MarketplaceRefusal('azure.unauthorised', 'no', 401));
    await f.settle(60_000);
    expect((await read(row)).state).toBe('sent');
    expect(await f.rows('select kind from findings')).toEqual([{ kind: 'secret_expiring' }]);
    f.market.readPublisherChange = poll;
    f.market.publisherChanges.settle(f.market.publisherChanges.pending()[0]!, 'succeeded');
    await f.settle(600_000);
    expect((await read(row)).state).toBe('succeeded');
  });

  it('that somebody asked for past this house is followed to its end', async () => {
    const { message, changeId } = f.market.requestChange(externalId, { externalPlanId: 'premium', requestedByUs: true });
    await f.deliver(message);
    await f.settle(20_000);
    expect(await planOf()).toBe('standard');
    f.market.settleChange(changeId, true);
    await f.settle(60_000);
    expect(await planOf()).toBe('premium');
    expect(f.market.calls.filter((c) => c.operation === 'answerChange')).toEqual([]);
  });

  it('that the marketplace refuses, or that fails there, says so and leaves the purchase as it was', async () => {
    f.market.failNext('startPublisherChange', 'refused');
    const refused = await ask(toPremium);
    await f.settle(10_000);
    expect(await read(refused)).toMatchObject({ state: 'refused', error_code: 'fake.refused' });
    const failed = await ask(toPremium);
    await f.settle(10_000);
    f.market.publisherChanges.settle(f.market.publisherChanges.pending()[0]!, 'failed');
    await f.settle(10_000);
    expect(await read(failed)).toMatchObject({ state: 'failed', error_code: 'change.failed' });
    expect(await planOf()).toBe('standard');
  });

  it('waits while the marketplace is busy, and is given up for a person after a day without a word', async () => {
    f.market.failNext('startPublisherChange', 'busy', { times: 30 });
    const row = await ask(toPremium);
    await f.settle(600_000);
    expect((await read(row)).state).toBe('sent');
    f.clock.set(new Date(f.clock.now().getTime() + 25 * 3_600_000));
    await f.settle(10_000);
    expect(await read(row)).toMatchObject({ state: 'unknown', error_code: 'change.never_answered' });
    expect(await f.rows(`select handler, last_error from tasks where state = 'parked'`)).toEqual([]);
  });

  it('is refused at once where it cannot be: same plan, unknown plan, another under way, reseller, ended', async () => {
    await expect(ask({ kind: 'plan', toExternalPlanId: 'standard' })).rejects.toMatchObject({ code: 'change.nothing_to_change' });
    await expect(ask({ kind: 'plan', toExternalPlanId: 'no-such-plan' })).rejects.toMatchObject({ code: 'change.refused' });
    await ask(toPremium);
    await expect(ask({ kind: 'cancel' })).rejects.toMatchObject({ code: 'change.under_way' });
    expect((await f.rows('select 1 from publisher_changes')).length).toBe(1);
    const reseller = await f.serve('Bought at a reseller', { readOnly: true });
    id = reseller.id;
    await expect(ask(toPremium)).rejects.toMatchObject({ code: 'change.read_only' });
    const over = await f.serve('Soon over');
    await f.deliver(f.market.setState(over.externalId, 'ended'));
    await f.settle(1_000);
    id = over.id;
    await expect(ask({ kind: 'cancel' })).rejects.toMatchObject({ code: 'subscription.over' });
  });

  it('ends the purchase when it is a cancellation, without waiting for the message that tells of it', async () => {
    const row = await ask({ kind: 'cancel' });
    await f.settle(10_000);
    f.market.publisherChanges.settle(f.market.publisherChanges.pending()[0]!, 'succeeded');
    await f.settle(10_000);
    expect((await read(row)).state).toBe('succeeded');
    expect(['closing', 'cancelled']).toContain(await f.state(id));
    expect((await f.market.readTruth(externalId))?.state).toBe('ended');
  });
});
