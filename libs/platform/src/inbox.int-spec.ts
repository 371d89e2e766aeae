import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { openDatabase, type Database } from './db/database.js';
import { Inbox, type InboundMessage } from './inbox.js';
import { ManualClock } from './testing/index.js';

describe('the inbox', () => {
  const clock = new ManualClock(new Date('2030-05-01T10:00:00Z'));
  let base: TestDatabase;
  let db: Database;
  let inbox: Inbox;
  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret });
    inbox = new Inbox(db, clock);
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
  });

  const message = (over: Partial<InboundMessage> = {}): InboundMessage => ({
    source: 'azure.webhook',
    naturalKey: randomUUID(),
    contentType: 'application/json',
    headers: {},
    body: '{ "raw":  true }',
    principal: 'app:sender',
    ...over,
  });
  const receive = (m: InboundMessage) => db.ops((tx) => inbox.receive(tx, m));

  it('keeps the body as it was received, with who sent it and when', async () => {
    const m = message({ headers: { 'x-request': '7' } });
    const { inboxId, fresh } = await receive(m);
    expect(fresh).toBe(true);
    expect(await db.ops((tx) => inbox.load(tx, inboxId))).toEqual({
      ...m,
      inboxId,
      receivedAt: clock.now(),
      answer: null,
      state: 'received',
    });
  });

  it('gives a repeat the stored answer, a refusal too, and the first answer stays', async () => {
    const m = message();
    const first = await receive(m);
    const { receivedAt } = first;
    expect(await receive(m)).toEqual({ inboxId: first.inboxId, fresh: false, answer: null, receivedAt });
    await db.ops((tx) => inbox.answer(tx, first.inboxId, { status: 409, body: { no: 'more is stored' } }));
    await db.ops((tx) => inbox.answer(tx, first.inboxId, { status: 200 }));
    expect(await receive({ ...m, body: 'another body under the same key' })).toEqual({
      inboxId: first.inboxId,
      fresh: false,
      answer: { status: 409, body: { no: 'more is stored' } },
      receivedAt,
    });
    expect((await db.ops((tx) => inbox.load(tx, first.inboxId))).body).toBe(m.body);
  });

  it('takes one of several deliveries at once', async () => {
    const m = message();
    const all = await Promise.all(Array.from({ length: 6 }, () => receive(m)));
    expect(all.filter((r) => r.fresh)).toHaveLength(1);
    expect(new Set(all.map((r) => r.inboxId)).size).toBe(1);
  });

  describe('of a message that waits for no decision', () => {
    const task = { lane: null, handler: 'inbound.normalise', payload: { marketplace: 'azure' } };
    const tasksOf = (inboxId: string) =>
      db.ops((tx) =>
        tx.query<Record<string, unknown>>(
          `select task_id, lane, handler, payload_ref, state from tasks where payload_ref->>'inboxId' = $1`,
          [inboxId],
        ),
      );

    it('stores message, task and answer at once', async () => {
      const m = message();
      const { inboxId, taskId, answer } = await inbox.accept(m, task, { status: 200 });
      expect(answer).toEqual({ status: 200 });
      expect(await db.ops((tx) => inbox.load(tx, inboxId))).toMatchObject({ ...m, receivedAt: clock.now(), answer: { status: 200 } });
      expect(await tasksOf(inboxId)).toEqual([
        {
          task_id: taskId,
          lane: `inbox:${inboxId}`,
          handler: 'inbound.normalise',
          payload_ref: { marketplace: 'azure', inboxId },
          state: 'queued',
        },
      ]);
    });

    it('makes no second task of a repeat, also of several at once', async () => {
      const m = message();
      const all = await Promise.all(Array.from({ length: 6 }, () => inbox.accept(m, { ...task, lane: 'lane:x' }, { status: 200 })));
      expect(all.filter((r) => r.taskId !== null)).toHaveLength(1);
      expect(new Set(all.map((r) => r.inboxId)).size).toBe(1);
      expect(all.every((r) => r.answer?.status === 200)).toBe(true);
      expect(await tasksOf(all[0]!.inboxId)).toHaveLength(1);
    });

    it('shares a commit between those who come at the same moment, each with its own task and answer', async () => {
      const all = await Promise.all(
        Array.from({ length: 20 }, (_, i) => inbox.accept(message(), { ...task, payload: { marketplace: `m${i}` } }, { status: 200 + i })),
      );
      const rows = await db.ops((tx) =>
        tx.query<{ commit: string }>(`select xmin::text as commit from inbox where inbox_id = any($1)`, [all.map((one) => one.inboxId)]),
      );
      expect(rows).toHaveLength(20);
      expect(new Set(rows.map((row) => row.commit)).size).toBeLessThan(20);
      for (const [i, one] of all.entries()) {
        expect(one.answer).toEqual({ status: 200 + i });
        expect(await tasksOf(one.inboxId)).toMatchObject([{ task_id: one.taskId, payload_ref: { marketplace: `m${i}` } }]);
      }
    });

    it('of a group with one that cannot be stored, refuses that one and stores the rest', async () => {
      const bad = message();
      const ends = await Promise.allSettled([
        inbox.accept(message(), task, { status: 200 }),
        inbox.accept(bad, { ...task, handler: null as unknown as string }, { status: 200 }),
        inbox.accept({ ...message(), body: 'a lone \ud800 and "quotes"' }, task, { status: 200 }),
        inbox.accept(message(), task, { status: 200 }),
      ]);
      expect(ends.map((end) => end.status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
      for (const end of ends) if (end.status === 'fulfilled') expect(await tasksOf(end.value.inboxId)).toHaveLength(1);
      expect((await receive(bad)).fresh).toBe(true);
    });

    it('gives a repeat the answer that was stored first', async () => {
      const m = message();
      const { inboxId } = await receive(m);
      expect(await inbox.accept(m, task, { status: 200 })).toEqual({ inboxId, taskId: null, answer: null });
      await db.ops((tx) => inbox.answer(tx, inboxId, { status: 400 }));
      expect((await inbox.accept(m, task, { status: 200 })).answer).toEqual({ status: 400 });
      expect(await tasksOf(inboxId)).toEqual([]);
    });

    it('stores nothing where the task cannot be stored', async () => {
      const m = message();
      await expect(inbox.accept(m, { ...task, handler: null as unknown as string }, { status: 200 })).rejects.toThrow(/handler/);
      expect((await receive(m)).fresh).toBe(true);
    });
  });

  it('tells the same key of two sources apart', async () => {
    const m = message();
    await receive(m);
    expect((await receive({ ...m, source: 'gcp.pubsub' })).fresh).toBe(true);
  });

  it('keeps no header that carries a credential, of a message or of a refusal', async () => {
    const headers = {
      Authorization: 'Bearer hush',
      cookie: 'hush',
      'X-Berth-Webhook-Secret': 'hush',
      'x-amzn-marketplace-token': 'hush',
      'x-gcp-marketplace-token': 'hush',
      'Proxy-Authorization': 'hush',
      'X-API-Key': 'hush',
      'content-type': 'text/plain',
    };
    const { inboxId } = await receive(message({ headers }));
    expect((await db.ops((tx) => inbox.load(tx, inboxId))).headers).toEqual({ 'content-type': 'text/plain' });
    await inbox.refuse('azure.webhook', 'webhook.bad_token', 'wrong', headers, 'body');
    const rows = await db.ops((tx) => tx.query('select headers from refusals'));
    expect(rows).toEqual([{ headers: { 'content-type': 'text/plain' } }]);
  });

  it('notes what became of a message and keeps the purchase once it is known', async () => {
    const { inboxId } = await receive(message());
    const subscriptionId = randomUUID();
    await db.ops((tx) => inbox.mark(tx, inboxId, 'parked', { subscriptionId, note: 'plan unknown' }));
    await db.ops((tx) => inbox.mark(tx, inboxId, 'processed', { note: 'applied' }));
    expect(await db.ops((tx) => tx.query('select state, subscription_id, note from inbox where inbox_id = $1', [inboxId]))).toEqual([
      { state: 'processed', subscription_id: subscriptionId, note: 'applied' },
    ]);
  });

  it('keeps a refusal of any body, cut to a sample', async () => {
    await inbox.refuse('azure.webhook', 'webhook.bad_body', `odd \u0000 detail ${'d'.repeat(2_000)}`, {}, `\u0000${'b'.repeat(10_000)}`);
    const [row] = await db.ops((tx) =>
      tx.query<{ detail: string; body_sample: string }>(`select detail, body_sample from refusals where code = 'webhook.bad_body'`),
    );
    expect(row!.detail).toHaveLength(1_000);
    expect(row!.body_sample).toBe('b'.repeat(4_000));
  });

  it('keeps the newest refusals and no more than ten thousand: a stranger cannot fill the disk', async () => {
    await db.ops((tx) =>
      tx.query(`insert into refusals (refusal_id, source, code, detail, refused_at, headers, body_sample)
                select gen_random_uuid(), 'azure.webhook', 'old', 'flood', timestamptz '2030-01-01' + n * interval '1 second', '{}', '' from generate_series(1, 10050) n`),
    );
    await inbox.refuse('azure.webhook', 'newest', 'after the flood', {}, '');
    const [counts] = await db.ops((tx) =>
      tx.query(
        `select count(*)::int as kept, count(*) filter (where code = 'newest')::int as newest, min(refused_at) > timestamptz '2030-01-01 00:00:50' as oldest_gone from refusals`,
      ),
    );
    expect(counts).toEqual({ kept: 10_000, newest: 1, oldest_gone: true });
  });
});
