import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { Calls, type CallIntent } from './calls.js';
import { openDatabase, type Database } from './db/database.js';
import { ManualClock } from './testing/index.js';

describe('the journal of calls', () => {
  const clock = new ManualClock(new Date('2030-05-01T10:00:00Z'));
  let base: TestDatabase;
  let db: Database;
  let calls: Calls;
  let call: CallIntent;
  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret });
    calls = new Calls(db, clock);
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
  });
  beforeEach(() => {
    call = { target: 'azure', operation: 'activate', subject: `subscription:${randomUUID()}`, intent: { plan: 'standard' } };
  });

  const stored = () =>
    db.ops((tx) =>
      tx.query<{ state: string; intent: unknown; outcome: unknown; intent_at: Date; outcome_at: Date | null }>(
        'select state, intent, outcome, intent_at, outcome_at from calls where subject = $1',
        [call.subject],
      ),
    );

  it('has the intent committed before the call is made, and the outcome after', async () => {
    const during: unknown[] = [];
    const result = await calls.around(call, async () => {
      during.push(...(await stored()));
      clock.advance(1_000);
      return { receipt: 'r1' };
    });
    expect(result).toEqual({ receipt: 'r1' });
    expect(during).toEqual([
      { state: 'intent', intent: { plan: 'standard' }, outcome: null, intent_at: expect.any(Date), outcome_at: null },
    ]);
    expect(await stored()).toMatchObject([{ state: 'ok', outcome: { receipt: 'r1' }, outcome_at: clock.now() }]);
  });

  it('makes no call whose intent cannot be written', async () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    let called = false;
    await expect(calls.around({ ...call, intent: circular }, async () => void (called = true))).rejects.toThrow();
    expect(called).toBe(false);
  });

  it('calls the effect unknown when the call throws', async () => {
    await expect(
      calls.around(call, async () => {
        throw new Error('connection cut');
      }),
    ).rejects.toThrow('connection cut');
    expect(await stored()).toMatchObject([{ state: 'unknown', outcome: { error: 'connection cut' } }]);
  });

  it('calls it refused only on a definite no', async () => {
    await expect(
      calls.around(call, async () => {
        throw Object.assign(new Error('plan mismatch'), { outcome: 'refused' });
      }),
    ).rejects.toThrow('plan mismatch');
    expect(await stored()).toMatchObject([{ state: 'refused', outcome: { error: 'plan mismatch' } }]);
  });

  it('does not turn a success into an unknown because its answer holds big numbers or nothing', async () => {
    await calls.around({ ...call, intent: { bytes: 2n ** 70n } }, async () => ({ quantity: 10n ** 20n }));
    await calls.around(call, async () => undefined);
    expect(await stored()).toMatchObject([
      { state: 'ok', intent: { bytes: '1180591620717411303424' }, outcome: { quantity: '100000000000000000000' } },
      { state: 'ok', outcome: null },
    ]);
  });

  it('lists intents without an outcome, which a restart must observe before it acts', async () => {
    const id = await calls.begin(call);
    await calls.around({ ...call, operation: 'answered' }, async () => 1);
    expect(await db.ops((tx) => calls.open(tx, call.subject))).toMatchObject([
      { call_id: id, operation: 'activate', intent: { plan: 'standard' } },
    ]);
    await calls.end(id, 'unknown', { error: 'the process died' });
    expect(await db.ops((tx) => calls.open(tx, call.subject))).toEqual([]);
  });

  it('lets an unknown be settled later, but never a definite outcome be changed', async () => {
    const id = await calls.begin(call);
    await calls.end(id, 'unknown', {});
    await calls.end(id, 'ok', { seen: true });
    await calls.end(id, 'refused', { too: 'late' });
    expect(await stored()).toMatchObject([{ state: 'ok', outcome: { seen: true } }]);
  });

  it('writes intent and outcome in the transaction of the caller where one is given', async () => {
    await expect(
      db.ops(async (tx) => {
        await calls.begin(call, tx);
        throw new Error('rolled back');
      }),
    ).rejects.toThrow('rolled back');
    expect(await stored()).toEqual([]);
  });
});
