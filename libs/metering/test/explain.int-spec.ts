import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import type { MeterTerms } from '#entitlements';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { MarketplaceRegistry } from '#marketplaces/core';
import { Metering, type Explanation } from '../src/index.js';
import { at, EGRESS, GIB, Harness, MIB, sampleEvent, STORED, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');
let database: TestDatabase;
let h: Harness;
let p: Purchase;
afterEach(async () => {
  await h.close();
  await database.drop();
});

async function open(meters: MeterTerms[] = [STORED, EGRESS]): Promise<void> {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START);
  h.fixtures.withPrices = false;
  p = await h.buy(await h.fixtures.plan(meters), START);
}
const close = async (to: string): Promise<void> => {
  h.clock.set(at(to));
  await h.metering.closeDueHours();
  await h.metering.submitDue();
};
const recordOf = async (meter: string, hour: string): Promise<string> =>
  (
    await h.rows<{ record_id: string }>('select record_id from usage_records where subscription_id = $1 and meter = $2 and hour = $3', [
      p.subscriptionId,
      meter,
      at(hour),
    ])
  )[0]!.record_id;
const explain = async (meter: string, hour: string): Promise<Explanation> => {
  const id = await recordOf(meter, hour);
  return h.db.ops((tx) => h.metering.explainRecord(tx, id));
};
/** The sum ends at 0, the lines add up to what was measured, and what is sent is the stored record. */
const addsUp = (x: Explanation): void => {
  expect(x.steps.at(-1)!.total).toBe(0n);
  let total = 0n;
  for (const s of x.steps) expect((total += s.base)).toBe(s.total);
  const measured = x.lines.filter((l) => l.segmentId === x.segmentId && l.kind === 'measured').reduce((sum, l) => sum + l.amount, 0n);
  expect(measured).toBe(x.steps.find((s) => s.step === 'measured')!.base);
  expect(-x.steps.find((s) => s.step === 'sent')!.base).toBe(BigInt(x.record!.base_quantity));
};

describe('an explanation', () => {
  it('says so where its marketplace is not sold on any more', async () => {
    await open();
    h.clock.set(at('10T12:00'));
    await h.report([p.placementId], START, at('10T12:00'), 3n * GIB, 1n);
    await close('10T12:00');
    const id = await recordOf('gib_hours_stored', '10T10:00');
    const elsewhere = new Metering({ ...h.deps, marketplaces: new MarketplaceRegistry([]) });
    await expect(h.db.ops((tx) => elsewhere.explainRecord(tx, id))).rejects.toMatchObject({ code: 'marketplace.not_configured' });
  });

  it('leads from a receipt to its samples with numbers that add up, and is the same when calculated again', async () => {
    await open([{ ...STORED, included: { quantity: '1', period: 'month' } }, EGRESS]);
    h.clock.set(at('10T12:00'));
    await h.report([p.placementId], START, at('10T12:00'), 3n * GIB + 12_345n, 700_001n);
    await close('10T12:00');
    for (const [meter, hour] of [
      ['gib_hours_stored', '10T10:00'],
      ['gib_hours_stored', '10T11:00'],
      ['mib_egress', '10T10:00'],
      ['mib_egress', '10T11:00'],
    ] as const) {
      const x = await explain(meter, hour);
      addsUp(x);
      expect([meter, hour, x.differs, x.sameInputs]).toEqual([meter, hour, [], true]);
      expect(x.samples).toHaveLength(12);
      expect(x.samples.every((s) => s.source === h.source && s.eventId.startsWith(`${h.source}.`))).toBe(true);
    }
    const first = await explain('gib_hours_stored', '10T10:00');
    expect(first.steps.map((s) => s.step)).toEqual(['measured', 'included', 'sent', 'remainder_out']);
    expect(first.money).toBe('price_unknown');
    expect(first.words.join(' ')).toContain('1 a month are included');
    expect(first.words.at(-1)).toBe('Calculated again just now from the same samples: every stored number is the same.');
    const second = await explain('gib_hours_stored', '10T11:00');
    expect(second.steps[0]).toMatchObject({ step: 'remainder_in' });
    const { receipt } = first.submission!;
    const found = await h.db.ops((tx) => h.metering.explainAny(tx, { of: receipt! }));
    expect(found).toMatchObject({ found: 'receipt', explanations: [{ record: { record_id: first.record!.record_id } }] });
  });

  it('leads from a raw event to its record and receipt, or says that it waits', async () => {
    await open([STORED]);
    h.clock.set(at('10T11:10'));
    await h.report([p.placementId], START, at('10T11:10'), 3n * GIB);
    await close('10T11:10');
    const events = await h.rows<{ event_id: string; at: Date }>(
      'select event_id, occurred_at as at from usage_events order by occurred_at',
    );
    const of = async (at: string) => {
      const id = events.find((e) => e.at.toISOString().slice(11, 16) === at)!.event_id;
      const found = await h.db.ops((tx) => h.metering.explainAny(tx, { of: id }));
      return found.found === 'event' ? found.events[0]!.traces : [];
    };
    expect((await of('10:20')).map((t) => [t.state, t.explanation?.submission?.state, t.words.includes('receipt')])).toEqual([
      ['counted', 'accepted', true],
    ]);
    expect((await of('11:05')).map((t) => t.state)).toEqual(['open']);
    await expect(h.db.ops((tx) => h.metering.explainAny(tx, { of: 'nothing' }))).rejects.toThrow(/explain.nothing_found/);
  });

  it('names the next record of what was too little to be sent', async () => {
    await open([STORED]);
    h.clock.set(at('10T13:00'));
    await h.report([p.placementId], START, at('10T13:00'), (GIB * 4n) / 10n);
    await close('10T13:00');
    const [e] = await h.rows<{ event_id: string }>('select event_id from usage_events order by occurred_at offset 2 limit 1');
    const found = await h.db.ops((tx) => h.metering.explainAny(tx, { of: e!.event_id, day: '2026-03-10' }));
    expect(found.found === 'event' && found.events[0]!.traces.map((t) => [t.state, t.explanation?.record, t.nextRecordId])).toEqual([
      ['counted', null, await recordOf('gib_hours_stored', '10T12:00')],
    ]);
  });

  it('of a late sample shows the correction, and the closed hour as it was closed', async () => {
    await open([STORED]);
    h.clock.set(at('10T11:00'));
    await h.report([p.placementId], START, at('10T10:30'), 4n * GIB);
    await h.report([p.placementId], at('10T11:00'), at('10T11:00'), 4n * GIB);
    await close('10T11:00');
    h.clock.set(at('10T12:00'));
    const late = sampleEvent(h.source, p.placementId, at('10T10:40'), 4n * GIB, { id: 'late-one' });
    await h.metering.ingest(h.cell, [late]);
    await h.report([p.placementId], at('10T11:05'), at('10T12:00'), 4n * GIB);
    await close('10T12:00');
    const x = await explain('gib_hours_stored', '10T10:00');
    addsUp(x);
    expect([x.sameInputs, x.differs]).toEqual([true, []]);
    expect(x.samples.map((s) => s.eventId)).not.toContain('late-one');
    expect(x.later.map((l) => [l.term, l.cause])).toContainEqual(['adjustment', 'late']);
    const next = await explain('gib_hours_stored', '10T11:00');
    expect(next.steps.map((s) => s.step)).toContain('carry_in');
    addsUp(next);
    const found = await h.db.ops((tx) => h.metering.explainAny(tx, { of: 'late-one' }));
    expect(found.found === 'event' && found.events[0]!.traces.map((t) => t.state)).toEqual(['late']);
  });

  it('says so when the samples at hand are not those of the closing', async () => {
    await open([STORED]);
    h.clock.set(at('10T11:00'));
    await h.report([p.placementId], START, at('10T11:00'), 3n * GIB);
    await close('10T11:00');
    const admin = new pg.Client({ connectionString: database.url() });
    await admin.connect();
    await admin.query(`update usage_events set value = value * 2 where occurred_at = '2026-03-10T10:20:00Z'`);
    await admin.end();
    const x = await explain('gib_hours_stored', '10T10:00');
    expect(x.sameInputs).toBe(false);
    expect(x.differs.some((d) => d.startsWith('ledger'))).toBe(true);
    expect(x.words.at(-1)).toContain('not from the same samples');
  });

  it('of a segment cut inside the hour counts each part once', async () => {
    await open([STORED, EGRESS]);
    const silver = await h.fixtures.plan([STORED, EGRESS], 'silver');
    h.clock.set(at('10T12:00'));
    await h.report([p.placementId], START, at('10T12:00'), 6n * GIB, 2n * MIB);
    await h.fixtures.cut(p, at('10T10:22'), { planVersionId: silver, externalPlanId: 'silver' });
    await close('10T12:00');
    for (const { record_id: id } of await h.rows<{ record_id: string }>('select record_id from usage_records order by hour')) {
      const x = await h.db.ops((tx) => h.metering.explainRecord(tx, id));
      addsUp(x);
      expect(x.differs).toEqual([]);
    }
  });
});
