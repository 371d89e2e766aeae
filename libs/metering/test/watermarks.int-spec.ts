import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { foldNumbers } from '../src/application/watermarks.js';
import { at, Harness, sampleEvent, STORED, type Purchase } from '../src/testing/index.js';

let database: TestDatabase;
let h: Harness;
let p: Purchase;
let source = 0;
const START = at('10T10:00');

beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START);
  p = await h.buy(await h.fixtures.plan([STORED]), START);
});
afterAll(async () => {
  await h.close();
  await database.drop();
});

/** A fresh source of an importer, with nothing bound to it: its samples are refused, its numbers count all the same. */
function aSource() {
  const name = `/imports/numbers-${++source}`;
  const event = (type: string, sequence: number, over: Record<string, unknown>) => ({
    specversion: '1.0',
    id: `${name}.${sequence}`,
    source: name,
    type,
    sequence: String(sequence),
    ...over,
  });
  return {
    name,
    sample: (n: number) =>
      event('berth.sample.v1', n, { time: START.toISOString(), subject: p.placementId, data: { metric: 'm', kind: 'gauge', value: '1' } }),
    broken: (n: number) => event('berth.sample.v1', n, { data: 'x' }),
    mark: (n: number, through: string) =>
      event('berth.watermark.v1', n, { data: { through: at(through).toISOString(), sequence: String(n) } }),
    post: async (...events: unknown[]) => (await h.metering.ingest({ kind: 'operator', keyId: 'o' }, events)).results.map((r) => r.outcome),
    stands: async () =>
      (await h.rows<{ watermark: Date | null }>('select watermark from usage_sources where source = $1', [name]))[0]?.watermark ?? null,
  };
}

describe('a watermark', () => {
  it('waits for the batch before it, and both count when that comes', async () => {
    const s = aSource();
    expect(await s.post(s.sample(1), s.mark(2, '10T10:00'))).toEqual(['rejected', 'accepted']);
    expect(await s.stands()).toEqual(at('10T10:00'));
    expect(await s.post(s.sample(5), s.mark(6, '10T10:05'))).toEqual(['rejected', 'accepted']);
    expect(await s.stands()).toEqual(at('10T10:00'));
    expect(await s.post(s.sample(5), s.mark(6, '10T10:05'))).toEqual(['rejected', 'duplicate']);
    expect(await s.post(s.broken(3), s.mark(4, '10T10:03'))).toEqual(['rejected', 'accepted']);
    expect(await s.stands()).toEqual(at('10T10:05'));
    expect(
      await h.rows('select 1 from usage_watermarks where source = $1 union all select 1 from usage_numbers where source = $1', [s.name]),
    ).toEqual([]);
  });

  it('counts when samples alone fill the gap before it', async () => {
    const s = aSource();
    await s.post(s.sample(1), s.mark(3, '10T10:02'));
    expect(await s.stands()).toBeNull();
    await s.post(s.sample(2));
    await h.metering.closeDueHours();
    expect(await s.stands()).toEqual(at('10T10:02'));
  });

  it('whose gap never fills counts when its hours are past every hold limit', async () => {
    const s = aSource();
    h.clock.set(START);
    await s.post(s.mark(2, '10T10:00'));
    h.clock.set(at('10T15:59'));
    await h.metering.closeDueHours();
    expect(await s.stands()).toBeNull();
    h.clock.set(at('10T16:00'));
    await h.metering.closeDueHours();
    expect(await s.stands()).toEqual(at('10T10:00'));
    // And what comes behind it counts at once.
    await s.post(s.mark(3, '10T15:59'));
    expect(await s.stands()).toEqual(at('10T15:59'));
    h.clock.set(START);
  });

  it('of a source that lost its memory and numbers anew counts; an old one that comes again does not', async () => {
    const s = aSource();
    await s.post(...[1, 2, 3].map((n) => s.sample(n)), s.mark(4, '10T10:00'), s.mark(5, '10T10:01'));
    expect(await s.post(s.mark(4, '10T10:00'))).toEqual(['duplicate']);
    expect(await s.post(s.sample(1), s.mark(2, '10T10:04'))).toEqual(['rejected', 'accepted']);
    expect(await s.post(s.sample(3), s.mark(4, '10T10:05'))).toEqual(['rejected', 'accepted']);
    expect(await s.stands()).toEqual(at('10T10:05'));
  });

  it('comes in any order from many at once, and the last one counts', async () => {
    const s = aSource();
    const marks = [1, 2, 3, 4, 5].map((n) => s.post(s.sample(2 * n - 1), s.mark(2 * n, `10T10:0${n - 1}`)));
    await Promise.all(marks.reverse());
    await h.metering.closeDueHours();
    expect(await s.stands()).toEqual(at('10T10:04'));
  });

  it('does not come: numbers alone are folded into one run and go on to count', async () => {
    const s = aSource();
    for (let n = 2; n <= 6; n++) await s.post(s.sample(n));
    await h.db.ops((tx) => foldNumbers(tx, 3));
    expect(await h.rows('select low::text, high::text from usage_numbers where source = $1', [s.name])).toEqual([{ low: '2', high: '6' }]);
    await s.post(s.sample(1), s.mark(7, '10T10:01'));
    expect(await s.stands()).toEqual(at('10T10:01'));
  });
});

describe('an hour', () => {
  it('stays open while a batch of its cell is missing, and closes as measured when it has come', async () => {
    h.clock.set(at('20T10:00'));
    const q = await h.buy(await h.fixtures.plan([STORED]), at('20T10:00'));
    h.clock.set(at('20T11:00'));
    const missing = [sampleEvent(h.source, q.placementId, at('20T10:30'), 1n)];
    await h.report([q.placementId], at('20T10:35'), at('20T11:00'), 1n);
    await h.metering.closeDueHours();
    const quality = () => h.rows(`select quality from hour_closings where subscription_id = $1`, [q.subscriptionId]);
    expect(await quality()).toEqual([]);
    await h.metering.ingest(h.cell, missing);
    await h.report([q.placementId], at('20T10:00'), at('20T10:25'), 1n);
    await h.metering.closeDueHours();
    expect(await quality()).toEqual([{ quality: 'measured' }]);
  });
});
