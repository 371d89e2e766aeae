import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { shardOf } from '../src/domain/merkle.js';
import { at, EGRESS, GIB, Harness, sampleEvent, STORED, watermarkEvent, type Purchase } from '../src/testing/index.js';

let database: TestDatabase;
let admin: pg.Client;
let h: Harness;
let plan: string;
const START = at('10T10:00');

beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START, undefined, {}, { intake: { perGroup: 8, waiting: 24, each: 12 } });
  plan = await h.fixtures.plan([STORED, EGRESS]);
  admin = new pg.Client({ connectionString: database.url() });
  await admin.connect();
});
afterAll(async () => {
  await admin.end();
  await h.close();
  await database.drop();
});

const post = async (events: unknown[], principal: Parameters<Harness['metering']['ingest']>[0] = h.cell): Promise<string[]> =>
  (await h.metering.ingest(principal, events)).results.map((r) => (r.code ? `${r.outcome} ${r.code}` : r.outcome));
const code = (error: unknown): string[] => [(error as { code: string }).code];
const storedOf = (p: Purchase) =>
  h.rows<{ event_id: string; value: string; tx: string }>(
    'select event_id, value::text, xmin::text as tx from usage_events where placement_id = $1 order by event_id',
    [p.placementId],
  );

describe('requests that come together', () => {
  it('share a commit over tenants, and each gets its own answer', async () => {
    const [a, b] = [await h.buy(plan, START), await h.buy(plan, START)];
    const answers = await Promise.all([
      post([sampleEvent(h.source, a.placementId, START, 1n)]),
      post([sampleEvent(h.source, b.placementId, START, 2n), sampleEvent(h.source, b.placementId, START, '-1')]),
      post([sampleEvent('/cells/elsewhere', a.placementId, START, 3n)]),
      post([watermarkEvent(h.source, START)]),
    ]);
    expect(answers).toEqual([
      ['accepted'],
      ['accepted', 'rejected usage.negative_quantity'],
      ['rejected usage.foreign_source'],
      ['accepted'],
    ]);
    const [one, two] = [await storedOf(a), await storedOf(b)];
    expect([one.length, two.length]).toEqual([1, 1]);
    expect(one[0]!.tx).toBe(two[0]!.tx);
  });

  it('are tried alone when the group fails: one that cannot be stored takes no other with it, and leaves nothing half stored', async () => {
    const [a, b] = [await h.buy(plan, START), await h.buy(plan, START)];
    await admin.query(`create function poison() returns trigger language plpgsql as $$ begin
      if new.metric = 'poison' then raise exception 'poisoned'; end if; return new; end $$;
      create trigger poison before insert on usage_events for each row execute function poison()`);
    try {
      const bad = [
        sampleEvent(h.source, b.placementId, START, 1n, { id: 'beside' }),
        sampleEvent(h.source, b.placementId, START, 1n, { metric: 'poison' }),
      ];
      const [good, poisoned, other] = await Promise.allSettled([
        post([sampleEvent(h.source, a.placementId, START, 1n)]),
        post(bad),
        post([sampleEvent(h.source, a.placementId, at('10T10:01'), 1n)]),
      ]);
      expect([good, other]).toEqual([1, 1].map(() => ({ status: 'fulfilled', value: ['accepted'] })));
      expect(poisoned.status).toBe('rejected');
      expect(await storedOf(b)).toEqual([]);
      expect(await h.rows(`select 1 from usage_dedupe where event_id = 'beside'`)).toEqual([]);
      expect(await post(bad.slice(0, 1))).toEqual(['accepted']);
    } finally {
      await admin.query('drop trigger poison on usage_events; drop function poison()');
    }
  });

  it('find each other: of two with one id the first is stored, the other is a repeat or a conflict', async () => {
    const p = await h.buy(plan, START);
    const event = sampleEvent(h.source, p.placementId, START, GIB, { id: 'twice' });
    const answers = await Promise.all([
      post([event]),
      post([event]),
      post([{ ...event, data: { ...(event['data'] as object), value: '7' } }]),
      post([sampleEvent(h.source, p.placementId, START, 1n)]),
    ]);
    expect(answers.flat()).toEqual(['accepted', 'duplicate', 'conflict usage.duplicate_id', 'accepted']);
    // Another poster's ids are his own, but this hour of the source has been reported.
    expect(await post([event], { kind: 'operator', keyId: 'o1' })).toEqual(['rejected usage.duplicate_uplink']);
  });

  it('wait within bounds: one poster fills his own part only, all together the whole, and what waited is stored', async () => {
    const by = new Map<string, { p: Purchase; source: string }>();
    for (const keyId of ['0', '1', 'a', 'b', 'c']) {
      const source = `/imports/${keyId}`;
      const p = await h.fixtures.purchase({ planVersionId: plan, startsAt: START });
      await h.db.ops((tx) => h.metering.bindPlacement(tx, { ...p, source, from: START }));
      by.set(keyId, { p, source });
    }
    const from = (keyId: string, n: number): Promise<string[]> => {
      const { p, source } = by.get(keyId)!;
      return post(
        Array.from({ length: n }, () => sampleEvent(source, p.placementId, START, 1n)),
        { kind: 'operator', keyId },
      );
    };
    await admin.query('begin');
    for (const { p } of by.values()) await admin.query('select pg_advisory_xact_lock(7205322, $1)', [shardOf(p.subscriptionId)]);
    const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
    const running: Promise<string[]>[] = [];
    // Two groups are under way and stand still.
    for (let n = 0; n < 2; n++) {
      running.push(from(String(n), 8));
      await turn();
    }
    running.push(from('a', 12));
    expect(await from('a', 1).catch(code)).toEqual(['request.too_many_waiting']);
    running.push(from('b', 12));
    expect(await from('c', 1).catch(code)).toEqual(['request.overloaded']);
    await admin.query('commit');
    expect((await Promise.all(running)).flat()).toEqual(Array<string>(40).fill('accepted'));
    expect(await Promise.all([...by.values()].map(async ({ p }) => (await storedOf(p)).length))).toEqual([8, 8, 12, 12, 0]);
  });
});

describe('two uplinks of one source', () => {
  it('count once: the first holds the hour, the other is told so, and burns no number of the counter', async () => {
    const p = await h.buy(plan, at('10T11:00'));
    h.clock.set(at('10T13:00'));
    const sample = (time: string, value: bigint) => sampleEvent(h.source, p.placementId, at(time), value, { kind: 'counter' });
    const relay = { kind: 'operator' as const, keyId: 'relay' };
    expect(await post([sample('10T11:00', 100n), sample('10T11:30', 200n)])).toEqual(['accepted', 'accepted']);
    expect(await post([sample('10T11:10', 5n), sample('10T12:10', 250n)], relay)).toEqual(['rejected usage.duplicate_uplink', 'accepted']);
    // Another process, which remembers nothing, says the same.
    const other = await h.another().ingest(h.cell, [sample('10T12:20', 260n), sample('10T11:40', 210n)]);
    expect(other.results.map((r) => r.code ?? r.outcome)).toEqual(['usage.duplicate_uplink', 'accepted']);
    const both = await Promise.all([post([sample('10T13:00', 1n)]), post([sample('10T13:01', 2n)], relay)]);
    expect(both.flat().sort()).toEqual(['accepted', 'rejected usage.duplicate_uplink']);
    expect((await storedOf(p)).map((r) => r.value).sort()).toHaveLength(5);
    h.clock.set(START);
  });
});

describe('a source with a wrong clock', () => {
  it('is named by one finding, not one for each event', async () => {
    const p = await h.buy(plan, START);
    const ahead = Array.from({ length: 10 }, () => sampleEvent(h.source, p.placementId, at('10T10:06'), 1n));
    expect(new Set(await post(ahead))).toEqual(new Set(['rejected usage.time_in_future']));
    await post(ahead.slice(0, 2));
    expect(await h.rows(`select evidence->>'source' as source from findings where kind = 'clock_skew'`)).toEqual([{ source: h.source }]);
  });
});

describe('the law of intake', () => {
  it('the same events in any requests, in any order and with repeats, at once or not, are the same rows', async () => {
    const run = fc.asyncProperty(
      fc.array(fc.record({ minute: fc.integer({ min: 0, max: 4 }), value: fc.bigInt(0n, 1_000n), twice: fc.boolean() }), {
        minLength: 1,
        maxLength: 8,
      }),
      fc.infiniteStream(fc.nat()),
      fc.boolean(),
      async (shapes, choices, atOnce) => {
        const p = await h.buy(plan, START);
        const events = shapes.map((s, i) =>
          sampleEvent(h.source, p.placementId, new Date(START.getTime() + s.minute * 60_000), s.value, { id: `${p.placementId}.${i}` }),
        );
        const draw = (n: number): number => choices.next().value % n;
        const posts = events.flatMap((e, i) => (shapes[i]!.twice ? [e, e] : [e]));
        for (let i = posts.length - 1; i > 0; i--) {
          const j = draw(i + 1);
          [posts[i], posts[j]] = [posts[j]!, posts[i]!];
        }
        const requests: unknown[][] = [[]];
        for (const e of posts) {
          if (draw(3) === 0) requests.push([]);
          requests.at(-1)!.push(e);
        }
        const wanted = requests.filter((r) => r.length > 0);
        const answers: string[] = [];
        // Refused for its size of the queue, a client comes again: nothing was stored.
        const persist = async (request: unknown[]): Promise<void> => {
          for (;;) {
            const got = await post(request).catch(code);
            if (got[0] !== 'request.too_many_waiting') return void answers.push(...got);
            // Refused in the same turn: who asks again without leaving it lets nobody through, himself included.
            await new Promise((resolve) => setImmediate(resolve));
          }
        };
        if (atOnce) await Promise.all(wanted.map(persist));
        else for (const request of wanted) await persist(request);
        expect(answers.filter((a) => a === 'accepted')).toHaveLength(events.length);
        expect(answers.filter((a) => a === 'duplicate')).toHaveLength(posts.length - events.length);
        const expected = shapes
          .map((s, i) => ({ event_id: `${p.placementId}.${i}`, value: s.value.toString() }))
          .sort((a, b) => (a.event_id < b.event_id ? -1 : 1));
        expect((await storedOf(p)).map(({ event_id, value }) => ({ event_id, value }))).toEqual(expected);
      },
    );
    await fc.assert(run, { numRuns: 12, endOnFailure: true });
  }, 120_000);
});
