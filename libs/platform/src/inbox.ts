import type { Clock } from './clock.js';
import type { Database, Tx } from './db/database.js';
import { Grouped } from './grouped.js';
import { uuidv7 } from './ids.js';
import type { PayloadRef } from './tasks/tasks.js';

/** The answer a sender got; stored, so that a repeat gets the same one (a 200 after a refusal would accept a change). */
export interface StoredAnswer {
  status: number;
  body?: unknown;
}

export interface InboundMessage {
  /** For example `azure.webhook`, `gcp.pubsub`, `aws.eventbridge`. */
  source: string;
  /** The marketplace's own key: Azure operation id; Google (provider, type, event id); EventBridge envelope id. */
  naturalKey: string;
  contentType: string;
  /** Without credentials. */
  headers: Record<string, string>;
  body: string;
  /** Who was verified to have sent it. */
  principal: string;
}

export interface InboxRow extends InboundMessage {
  inboxId: string;
  receivedAt: Date;
  answer: StoredAnswer | null;
  state: 'received' | 'processed' | 'parked';
}

/** Injection token of `Inbox`. */
export const INBOX = Symbol('berth.inbox');

const REFUSALS_KEPT = 10_000;
const HEADERS_DROPPED = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'x-api-key',
  'x-berth-webhook-secret',
  'x-amzn-marketplace-token',
  'x-gcp-marketplace-token',
]);

/** What a stranger sent, as Postgres takes it: its text holds no NUL. */
const text = (raw: string, most: number): string => raw.replaceAll('\u0000', '').slice(0, most);

const ACCEPT = `
  with stored as (
    insert into inbox (inbox_id, source, natural_key, received_at, content_type, headers, body, principal, state, answer)
    values ($1, $2, $3, $4, $5, $6, $7, $8, 'received', $9) on conflict (source, natural_key) do nothing returning inbox_id)
  insert into tasks (task_id, lane, handler, payload_ref, next_run_at, created_at)
  select $10, $11, $12, $13, $4, $4 from stored returning task_id`;

/** The same for a group. Of two with one key the first is stored and the other is a repeat. */
const ACCEPT_ALL = `
  with given as (
    select * from json_to_recordset($1::json) as g(inbox_id uuid, source text, natural_key text, received_at timestamptz, content_type text,
      headers jsonb, body text, principal text, answer jsonb, task_id uuid, lane text, handler text, payload jsonb)),
  stored as (
    insert into inbox (inbox_id, source, natural_key, received_at, content_type, headers, body, principal, state, answer)
    select inbox_id, source, natural_key, received_at, content_type, headers, body, principal, 'received', answer from given
    on conflict (source, natural_key) do nothing returning inbox_id)
  insert into tasks (task_id, lane, handler, payload_ref, next_run_at, created_at)
  select g.task_id, g.lane, g.handler, g.payload, g.received_at, g.received_at from given g join stored using (inbox_id) returning task_id`;

/** One message with its task: a row of ACCEPT_ALL; its values in this order are ACCEPT's parameters. */
interface AcceptRow {
  inbox_id: string;
  source: string;
  natural_key: string;
  received_at: Date;
  content_type: string;
  headers: Record<string, string>;
  body: string;
  principal: string;
  answer: StoredAnswer;
  task_id: string;
  lane: string;
  handler: string;
  payload: PayloadRef;
}

/** Raw first (law 1): what was verified is stored before anything is done about it; what was not goes to a capped table. */
export class Inbox {
  /** Whether each was stored now; false for a repeat. */
  private readonly accepting = new Grouped<AcceptRow, boolean>(
    (rows) => this.acceptAll(rows),
    (row) => this.acceptOne(row),
    { groups: 2, perGroup: 64, waiting: 1_000 },
  );

  constructor(
    private readonly db: Database,
    private readonly clock: Clock,
  ) {}

  /** Stores the message. `fresh` is false for a repeat, which comes with the first answer (null while the first is in work). */
  async receive(
    tx: Tx,
    message: InboundMessage,
  ): Promise<{ inboxId: string; fresh: boolean; answer: StoredAnswer | null; receivedAt: Date }> {
    const id = uuidv7();
    const now = this.clock.now();
    const inserted = await tx.query<{ inbox_id: string }>(
      `insert into inbox (inbox_id, source, natural_key, received_at, content_type, headers, body, principal, state)
       values ($1, $2, $3, $4, $5, $6, $7, $8, 'received') on conflict (source, natural_key) do nothing returning inbox_id`,
      [
        id,
        message.source,
        message.naturalKey,
        now,
        message.contentType,
        JSON.stringify(Inbox.publicHeaders(message.headers)),
        message.body,
        message.principal,
      ],
    );
    if (inserted.length > 0) return { inboxId: id, fresh: true, answer: null, receivedAt: now };
    const [row] = await tx.query<{ inbox_id: string; answer: StoredAnswer | null; received_at: Date }>(
      'select inbox_id, answer, received_at from inbox where source = $1 and natural_key = $2',
      [message.source, message.naturalKey],
    );
    return { inboxId: row!.inbox_id, fresh: false, answer: row!.answer, receivedAt: row!.received_at };
  }

  /**
   * Stores a message that waits for nobody's decision, with the task that will read it and the answer its sender gets: one
   * statement, all or nothing (law 2), shared with who comes at the same moment (ADR 0016). A repeat changes nothing and comes with the first answer, null while that is in work.
   */
  async accept(
    message: InboundMessage,
    task: { lane: string | null; handler: string; payload: PayloadRef },
    answer: StoredAnswer,
  ): Promise<{ inboxId: string; taskId: string | null; answer: StoredAnswer | null }> {
    const [inboxId, taskId] = [uuidv7(), uuidv7()];
    const fresh = await this.accepting.run({
      inbox_id: inboxId,
      source: message.source,
      natural_key: message.naturalKey,
      received_at: this.clock.now(),
      content_type: message.contentType,
      headers: Inbox.publicHeaders(message.headers),
      body: message.body,
      principal: message.principal,
      answer,
      task_id: taskId,
      lane: task.lane ?? `inbox:${inboxId}`,
      handler: task.handler,
      payload: { ...task.payload, inboxId },
    });
    if (fresh) return { inboxId, taskId, answer };
    const [row] = await this.db.opsStatement<{ inbox_id: string; answer: StoredAnswer | null }>(
      'inbox_answer',
      'select inbox_id, answer from inbox where source = $1 and natural_key = $2',
      [message.source, message.naturalKey],
    );
    return { inboxId: row!.inbox_id, taskId: null, answer: row!.answer };
  }

  private async acceptOne(row: AcceptRow): Promise<boolean> {
    const parameters = Object.values(row).map((value: unknown) =>
      typeof value === 'object' && value !== null && !(value instanceof Date) ? JSON.stringify(value) : value,
    );
    return (await this.db.opsStatement('inbox_accept', ACCEPT, parameters)).length > 0;
  }

  private async acceptAll(rows: readonly AcceptRow[]): Promise<boolean[]> {
    const stored = await this.db.opsStatement<{ task_id: string }>('inbox_accept_all', ACCEPT_ALL, [JSON.stringify(rows)]);
    const fresh = new Set(stored.map((one) => one.task_id));
    return rows.map((row) => fresh.has(row.task_id));
  }

  async answer(tx: Tx, inboxId: string, answer: StoredAnswer): Promise<void> {
    await tx.query('update inbox set answer = $2 where inbox_id = $1 and answer is null', [inboxId, JSON.stringify(answer)]);
  }

  async mark(
    tx: Tx,
    inboxId: string,
    state: 'processed' | 'parked',
    fields: { subscriptionId?: string; note?: string } = {},
  ): Promise<void> {
    await tx.query('update inbox set state = $2, subscription_id = coalesce($3, subscription_id), note = $4 where inbox_id = $1', [
      inboxId,
      state,
      fields.subscriptionId ?? null,
      fields.note ?? null,
    ]);
  }

  async load(tx: Tx, inboxId: string): Promise<InboxRow> {
    const [row] = await tx.query<Record<string, never>>('select * from inbox where inbox_id = $1', [inboxId]);
    if (!row) throw new Error(`inbox row ${inboxId} is missing`);
    const r = row as unknown as {
      inbox_id: string;
      source: string;
      natural_key: string;
      content_type: string;
      headers: Record<string, string>;
      body: string;
      principal: string;
      received_at: Date;
      answer: StoredAnswer | null;
      state: InboxRow['state'];
    };
    return {
      inboxId: r.inbox_id,
      source: r.source,
      naturalKey: r.natural_key,
      contentType: r.content_type,
      headers: r.headers,
      body: r.body,
      principal: r.principal,
      receivedAt: r.received_at,
      answer: r.answer,
      state: r.state,
    };
  }

  /** What failed verification: kept for support, capped, never acted on. */
  async refuse(source: string, code: string, detail: string, headers: Record<string, string>, body: string): Promise<void> {
    await this.db.ops(async (tx) => {
      await tx.query(
        `insert into refusals (refusal_id, source, code, detail, refused_at, headers, body_sample) values ($1, $2, $3, $4, $5, $6, $7)`,
        [uuidv7(), source, code, text(detail, 1_000), this.clock.now(), JSON.stringify(Inbox.publicHeaders(headers)), text(body, 4_000)],
      );
      await tx.query(
        `delete from refusals where refusal_id in (select refusal_id from refusals order by refused_at desc, refusal_id desc offset $1)`,
        [REFUSALS_KEPT],
      );
    });
  }

  /** Headers as they may be kept: no credentials. */
  static publicHeaders(headers: Record<string, string>): Record<string, string> {
    const kept: Record<string, string> = {};
    for (const name of Object.keys(headers)) if (!HEADERS_DROPPED.has(name.toLowerCase())) kept[name] = headers[name]!;
    return kept;
  }
}

/**
 * Deletes messages that were read, of before `before` (business time), at most `most`, oldest first; answers how many. `live` answers
 * which of these purchases still live: their messages stay, because one of them may be told again and gets its first answer.
 */
export async function pruneMessages(
  tx: Tx,
  before: Date,
  most: number,
  live: (subscriptionIds: string[]) => Promise<ReadonlySet<string>>,
): Promise<number> {
  const purchases = await tx.query<{ id: string }>(
    `select distinct subscription_id as id from inbox where state = 'processed' and received_at < $1 and subscription_id is not null`,
    [before],
  );
  const kept = await live(purchases.map((p) => p.id));
  const rows = await tx.query(
    `delete from inbox where inbox_id in (
       select inbox_id from inbox where state = 'processed' and received_at < $1 and (subscription_id is null or subscription_id <> all($3::uuid[]))
        order by received_at limit $2 for update skip locked) returning 1`,
    [before, most, [...kept]],
  );
  return rows.length;
}
