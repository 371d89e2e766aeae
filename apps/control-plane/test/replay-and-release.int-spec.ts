import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listTasks } from '#platform';
import { subscriptionIdOf } from '#entitlements';
import type { MarketplaceAdapter } from '#marketplaces/core';
import type { Principal } from '#tenancy';
import { normaliseInbound } from '../src/processes/normalise-inbound.js';
import { readTimeline } from '../src/processes/read-timeline.js';
import { releaseParked } from '../src/processes/release-parked.js';
import { replayInbound } from '../src/processes/replay-inbound.js';
import { timelineView } from '../src/http/api/timeline-view.js';
import { AzureAnswers } from './events/azure-events.js';
import { Flows } from './support/flows.js';

const OPERATOR: Principal = { kind: 'operator', keyId: 'op-1', name: 'a person' } as Principal;

describe('what an operator sets going again', () => {
  let flows: Flows;
  beforeEach(async () => {
    flows = await Flows.open();
  });
  afterEach(() => flows.close());

  const replay = (inboxId: string): Promise<{ taskId: string; fresh: boolean }> =>
    flows.db.ops((tx) => replayInbound(flows.p, tx, inboxId, OPERATOR));
  const lastInbox = async (): Promise<string> =>
    (await flows.rows<{ inbox_id: string }>('select inbox_id from inbox order by inbox_id desc limit 1'))[0]!.inbox_id;
  const world = async (): Promise<unknown> => ({
    subscriptions: await flows.rows(
      'select subscription_id, state, external_plan_id, quantity, tenant_id, ended_at from subscriptions order by 1',
    ),
    segments: await flows.rows('select * from segments order by 1'),
    rights: await flows.rows('select * from quotas order by 1'),
    changes: await flows.rows('select * from change_requests order by 1'),
    published: await flows.rows(`select handler from tasks where handler <> 'inbound.normalise' order by sequence`),
    sent: await flows.rows('select * from calls order by 1'),
  });

  it('replays every message of a life without changing anything new', async () => {
    const { externalId } = await flows.serve();
    for (const state of ['suspended', 'active', 'ended'] as const) {
      flows.clock.advance(60_000);
      await flows.deliver(flows.market.setState(externalId, state));
      await flows.settle();
    }
    const before = await world();
    const messages = await flows.rows<{ inbox_id: string }>(
      `select inbox_id from inbox where source not like '%.landing' order by inbox_id`,
    );
    expect(messages.length).toBe(4);
    for (const { inbox_id: id } of messages) {
      await replay(id);
      await flows.settle();
    }
    expect(await world()).toEqual(before);
    expect(await flows.rows(`select actor, action from audit_events where action = 'inbound_event.replayed'`)).toEqual(
      messages.map(() => ({ actor: 'operator:op-1', action: 'inbound_event.replayed' })),
    );
    expect(await flows.rows(`select 1 from inbox where state <> 'processed'`)).toEqual([]);
  });

  it('does not decide a change again: the stored decision and the one answer stay', async () => {
    const { externalId } = await flows.serve();
    const { message } = flows.market.requestChange(externalId, { externalPlanId: 'no-such-plan' });
    await flows.deliver(message);
    const id = await lastInbox();
    await flows.settle();
    const before = await world();
    await replay(id);
    await flows.settle();
    expect(await world()).toEqual(before);
  });

  it('gives a parked message its effect once its plan is in the catalog', async () => {
    const bought = flows.market.purchase({ externalPlanId: 'not-mapped-yet' });
    await flows.deliver(bought.message);
    await flows.settle();
    const id = await lastInbox();
    expect(await flows.rows('select state from inbox where inbox_id = $1', [id])).toEqual([{ state: 'parked' }]);
    await flows.db.ops(async (tx) => {
      const plan = (await flows.p.catalog.latest(tx, 'azure', 'object-cells', 'standard'))!;
      await flows.p.catalog.load(tx, [{ ...plan, externalPlanId: 'not-mapped-yet', planVersionId: randomUUID(), contentHash: 'another' }]);
    });
    expect(await replay(id)).toMatchObject({ fresh: true });
    expect(await replay(id), 'one replay at a time').toMatchObject({ fresh: false });
    await flows.settle();
    expect(await flows.rows('select external_plan_id as plan, state from subscriptions')).toEqual([
      { plan: 'not-mapped-yet', state: 'pending_fulfillment' },
    ]);
  });

  it('never replays what was refused, and sends a parked one to its task', async () => {
    const forged = { ...flows.market.purchase().message, headers: { 'x-fake-secret': 'guessed' } };
    await expect(flows.deliver(forged)).rejects.toMatchObject({ code: 'fake.secret_wrong' });
    const [refusal] = await flows.rows<{ refusal_id: string }>('select refusal_id from refusals');
    await expect(replay(refusal!.refusal_id)).rejects.toMatchObject({ code: 'inbound_event.refused', status: 409 });

    flows.broken.add('inbound.normalise');
    await flows.deliver(flows.market.purchase().message);
    await flows.settle(600_000);
    await expect(replay(await lastInbox())).rejects.toMatchObject({ code: 'inbound_event.task_parked', status: 409 });
    expect(await flows.rows('select 1 from audit_events')).toEqual([]);
  });

  it('releases a parked task: its lane goes on, its finding is settled, and parking again is a new finding', async () => {
    flows.broken.add('inbound.normalise');
    const bought = flows.market.purchase();
    await flows.deliver(bought.message);
    await flows.settle(600_000);
    const parked = async (): Promise<{ task_id: string; last_error: string | null }[]> =>
      (await flows.db.ops((tx) => listTasks(tx, { state: 'parked', limit: 10, after: null }))).items;
    const [task] = await parked();
    expect(task).toMatchObject({ handler: 'inbound.normalise', last_error: 'inbound.normalise is broken' });
    const release = (): Promise<unknown> => flows.db.ops((tx) => releaseParked(flows.p, tx, task!.task_id, OPERATOR));
    const findings = (): Promise<{ settlement: unknown }[]> =>
      flows.rows(`select settlement ->> 'kind' as settlement from findings where kind = 'lane_parked' order by raised_at, finding_id`);

    await release();
    await flows.settle(600_000);
    expect(await findings(), 'still broken').toEqual([{ settlement: 'release' }, { settlement: null }]);
    flows.broken.clear();
    await release();
    await flows.settle();
    expect(await parked()).toEqual([]);
    expect(await findings()).toEqual([{ settlement: 'release' }, { settlement: 'release' }]);
    expect(await flows.rows('select state from subscriptions')).toEqual([{ state: 'pending_fulfillment' }]);
    await expect(release()).rejects.toMatchObject({ code: 'task.not_parked' });
    await expect(flows.db.ops((tx) => releaseParked(flows.p, tx, randomUUID(), OPERATOR))).rejects.toMatchObject({
      code: 'task.not_found',
    });
    expect(await flows.rows(`select action from audit_events`)).toEqual([{ action: 'task.released' }, { action: 'task.released' }]);
  });
});

describe('the timeline as the database lets a tenant see it', () => {
  let flows: Flows;
  beforeEach(async () => {
    flows = await Flows.open();
  });
  afterEach(() => flows.close());

  it('shows a tenant its own purchase and nothing of another, whatever is asked', async () => {
    const [mine, theirs] = [await flows.serve('Mine'), await flows.serve('Theirs')];
    await flows.deliver(flows.market.requestChange(mine.externalId, { externalPlanId: 'premium' }).message);
    await flows.deliver(flows.market.requestChange(theirs.externalId, { externalPlanId: 'premium' }).message);
    await flows.settle();
    const tenantOf = async (id: string): Promise<string> => (await flows.db.ops((tx) => flows.p.subscriptions.get(tx, id))).tenantId!;
    const me = await tenantOf(mine.id);
    const read = (tenantId: string, id: string): Promise<{ items: unknown[] }> =>
      flows.db.tenant(tenantId, (tx) => readTimeline(tx, id, { limit: 200, after: null }, 'tenant'));
    const all = await flows.db.ops((tx) => readTimeline(tx, mine.id, { limit: 200, after: null }, 'operator'));
    expect(new Set(all.items.map((i) => i.kind))).toEqual(new Set(['inbound', 'decision', 'event', 'segment', 'call', 'operation']));
    expect((await read(me, mine.id)).items).toEqual(all.items.map((i) => ({ ...i, call: null, evidence: null })));
    expect((await read(me, theirs.id)).items).toEqual([]);
    expect((await read(randomUUID(), mine.id)).items).toEqual([]);

    const sources = ['inbox', 'calls', 'fulfillment_events', 'change_requests', 'subscription_timeline'];
    for (const source of sources) {
      const seen = await flows.db.tenant(me, (tx) => tx.query<{ id: string }>(`select distinct subscription_id as id from ${source}`));
      expect(seen, source).toEqual([{ id: mine.id }]);
    }
    for (const secret of [
      'body from inbox',
      'headers from inbox',
      'principal from inbox',
      'answer from inbox',
      'evidence from fulfillment_events',
      'intent from calls',
      'outcome from calls',
      '* from inbox',
    ])
      await expect(
        flows.db.tenant(me, (tx) => tx.query(`select ${secret}`)),
        secret,
      ).rejects.toThrow(/permission denied/);
    for (const source of sources.slice(0, 4))
      await expect(
        flows.db.tenant(me, (tx) => tx.query(`update ${source} set subscription_id = subscription_id`)),
        source,
      ).rejects.toThrow(/permission denied/);
  });

  it('tells what a sender was answered, what we answered in words, and what was read for it (law 3)', async () => {
    const { id, externalId } = await flows.serve();
    (flows.market as MarketplaceAdapter).handshake = () => ({
      operation: 'acceptReinstate',
      intent: {},
      externalSubscriptionId: externalId,
      run: () => Promise.resolve({ answered: true }),
    });
    await flows.deliver(flows.market.message(externalId, 'activated'));
    await flows.settle();
    const { changeId, message } = flows.market.requestChange(externalId, { externalPlanId: 'not-mapped' });
    flows.market.changes.get(changeId)!.answerBefore = new Date(flows.clock.now().getTime() + 10_000);
    await flows.deliver(message);
    const { items } = await flows.db.ops((tx) => readTimeline(tx, id, { limit: 200, after: null }, 'operator'));
    expect(items.filter((one) => one.kind === 'inbound').map((one) => one.facts['answered'])).toEqual([200, 200, 400]);
    expect(items.find((one) => one.facts['operation'] === 'acceptReinstate')).toMatchObject({
      kind: 'call',
      call: { outcome: { answered: true } },
    });
    expect(timelineView(items.filter((one) => one.kind === 'inbound').at(-1)!)['summary']).toMatch(/; answered 400$/);
  });

  it('keeps what Get Operation said when a change was decided, and that it said nothing, without any person', async () => {
    let answers!: AzureAnswers;
    const azure = await Flows.open({ adapters: (clock) => [(answers = new AzureAnswers(clock)).adapter] });
    try {
      const evidence = async (name: string): Promise<unknown> => {
        const one = answers.purchase(name);
        await azure.db.ops((tx) =>
          azure.p.subscriptions.apply(
            tx,
            {
              kind: 'purchased',
              marketplace: 'azure',
              externalSubscriptionId: one.externalId,
              occurredAt: azure.clock.now(),
              truth: one.truth('active'),
              note: '',
            },
            null,
          ),
        );
        const { inboxId } = await azure.db.ops((tx) =>
          azure.p.inbox.receive(tx, { ...one.message(), contentType: 'application/json', principal: 'a test' }),
        );
        azure.clock.advance(61_000);
        const task = { taskId: randomUUID(), lane: 'a', attempt: 1, completeIn: () => Promise.resolve() };
        await normaliseInbound(azure.p, { inboxId, marketplace: 'azure' }, task);
        const { items } = await azure.db.ops((tx) =>
          readTimeline(tx, subscriptionIdOf('azure', one.externalId), { limit: 200, after: null }, 'operator'),
        );
        return timelineView(items.filter((entry) => entry.kind === 'event').at(-1)!)['evidence'];
      };
      expect(await evidence('ChangePlan InProgress; still the old plan')).toEqual({
        getOperation: {
          id: expect.any(String),
          subscriptionId: expect.any(String),
          action: 'ChangePlan',
          status: 'InProgress',
          planId: 'premium',
          timeStamp: expect.any(String),
        },
      });
      expect(await evidence('ChangePlan; no such operation')).toEqual({ getOperation: null });
    } finally {
      await azure.close();
    }
  });
});
