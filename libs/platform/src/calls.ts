import { arrayText } from './db/array-text.js';
import type { Clock } from './clock.js';
import type { Database, Tx } from './db/database.js';
import { uuidv7 } from './ids.js';
import { errorText } from './problem.js';

export interface CallIntent {
  /** Who is called: `azure`, `gcp`, `aws`, `driver:local`. */
  target: string;
  /** For example `activate`, `submitUsage`. */
  operation: string;
  /** What it is about: `subscription:<uuid>`, `submission:<uuid>`. */
  subject: string;
  subscriptionId?: string;
  /** The request's facts without credentials. */
  intent: unknown;
}

/** `unknown`: the effect may have happened; observe or ask again safely, never retry blindly (law 3). */
export type CallState = 'ok' | 'refused' | 'unknown';

/** Injection token of `Calls`. */
export const CALLS = Symbol('berth.calls');

/** As JSON for the journal; a bigint becomes text: an outcome that cannot be written would turn a success into an unknown. */
const storedJson = (value: unknown): string =>
  JSON.stringify(value ?? null, (_key, v: unknown) => (typeof v === 'bigint' ? v.toString() : v)) ?? 'null';

/** Intent before, outcome after: the journal of every outbound call that can change something outside. */
export class Calls {
  constructor(
    private readonly db: Database,
    private readonly clock: Clock,
  ) {}

  /** Commits the intent; the call may be made only after this resolves. */
  async begin(call: CallIntent, within?: Tx): Promise<string> {
    const begin = (tx: Tx): Promise<string[]> => this.beginMany([call], tx);
    const [id] = await (within ? begin(within) : this.db.ops(begin));
    return id!;
  }

  /** Intents of several calls, in one statement; none of the calls may be made before the transaction has committed. */
  async beginMany(calls: readonly CallIntent[], tx: Tx): Promise<string[]> {
    const ids = calls.map(() => uuidv7());
    await tx.query(
      `insert into calls (call_id, target, operation, subject, subscription_id, intent_at, intent, state)
       select id, target, operation, subject, subscription, $7, intent, 'intent' from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::jsonb[])
         as u(id, target, operation, subject, subscription, intent)`,
      [
        arrayText(ids),
        arrayText(calls.map((c) => c.target)),
        arrayText(calls.map((c) => c.operation)),
        arrayText(calls.map((c) => c.subject)),
        arrayText(calls.map((c) => c.subscriptionId ?? null)),
        arrayText(calls.map((c) => storedJson(c.intent))),
        this.clock.now(),
      ],
    );
    return ids;
  }

  /** Commits the outcome, alone or in the transaction that acts on it. */
  async end(callId: string, state: CallState, outcome: unknown, within?: Tx): Promise<void> {
    const end = (tx: Tx): Promise<void> => this.endMany([{ callId, state, outcome }], tx);
    await (within ? end(within) : this.db.ops(end));
  }

  /** Outcomes of several calls, in one statement. */
  async endMany(outcomes: readonly { callId: string; state: CallState; outcome: unknown }[], tx: Tx): Promise<void> {
    if (outcomes.length === 0) return;
    await tx.query(
      `update calls c set state = u.state, outcome = u.outcome, outcome_at = $4 from unnest($1::uuid[], $2::text[], $3::jsonb[]) as u(id, state, outcome)
        where c.call_id = u.id and c.state in ('intent', 'unknown')`,
      [
        arrayText(outcomes.map((o) => o.callId)),
        arrayText(outcomes.map((o) => o.state)),
        arrayText(outcomes.map((o) => storedJson(o.outcome))),
        this.clock.now(),
      ],
    );
  }

  /** Intent, call, outcome. An error whose `outcome` property is `refused` is a definite no; any other is unknown. */
  async around<T>(call: CallIntent, work: () => Promise<T>): Promise<T> {
    const id = await this.begin(call);
    try {
      const result = await work();
      await this.end(id, 'ok', result);
      return result;
    } catch (error) {
      const refused = (error as { outcome?: string }).outcome === 'refused';
      await this.end(id, refused ? 'refused' : 'unknown', { error: errorText(error) });
      throw error;
    }
  }

  /** Intents of one subject without an outcome: what a restart must observe before it acts. */
  open(tx: Tx, subject: string): Promise<{ call_id: string; operation: string; intent: unknown; intent_at: Date }[]> {
    return tx.query(`select call_id, operation, intent, intent_at from calls where subject = $1 and state = 'intent' order by intent_at`, [
      subject,
    ]);
  }
}

/** Deletes calls that were answered, of before `before` (business time), at most `most`, oldest first; answers how many. */
export async function pruneCalls(tx: Tx, before: Date, most: number): Promise<number> {
  const rows = await tx.query(
    `delete from calls where call_id in (
       select call_id from calls where state in ('ok', 'refused') and intent_at < $1 order by intent_at limit $2 for update skip locked) returning 1`,
    [before, most],
  );
  return rows.length;
}
