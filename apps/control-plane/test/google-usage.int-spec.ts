import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { MarketplaceAdapter } from '#marketplaces/core';
import { at, GIB, Harness, STORED } from '#metering/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { GoogleDoor, METRIC } from './support/google-door.js';

const START = at('10T10:00');

describe('usage for Google through the submitter', () => {
  let database: TestDatabase;
  let h: Harness;
  let google: GoogleDoor;
  beforeEach(async () => {
    database = await createTestDatabase();
  });
  afterEach(async () => {
    vi.useRealTimers();
    await h?.close();
    await database?.drop();
  });

  /** Two purchases with one closed hour each, nothing sent yet. */
  async function closedHours(answers: ConstructorParameters<typeof GoogleDoor>[0] = {}): Promise<void> {
    google = new GoogleDoor(answers);
    h = await Harness.open(database.url(), database.secret, START, (fake): MarketplaceAdapter => google.standIn(fake), {
      hourKey: 'interval',
      maxDecimals: 0,
    });
    const plan = await h.fixtures.plan([{ ...STORED, dimension: METRIC }]);
    const placements = [];
    for (let i = 0; i < 2; i += 1) placements.push((await h.buy(plan, START)).placementId);
    h.clock.set(at('10T11:00'));
    await h.report(placements, START, at('10T11:00'), 3n * GIB);
    await h.metering.closeDueHours();
  }
  const items = () => h.rows<{ state: string; last_code: string }>('select state, last_code from submission_items order by item_id');
  const lost = () => h.rows(`select 1 from ledger_entries where term = 'loss'`);
  const findings = () =>
    h.rows<{ kind: string; evidence: Record<string, string> }>('select kind, evidence from findings order by raised_at');
  /** What an adapter keeps, it keeps for real time. */
  const passRealMinutes = (n: number): void => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + n * 60_000 });
  };
  const sendUntilTaken = async (): Promise<void> => {
    h.clock.advance(3_600_000);
    await h.metering.submitDue();
    expect((await items()).map((i) => i.state)).toEqual(['accepted', 'accepted']);
  };

  it.each([
    ['the service is not known at the check', { check: 404 }],
    ['the service is not known at the report', { report: 404 }],
    ['the address of the check is not allowed', { check: 'not_allowed' }],
    ['the address of the report is not allowed', { report: 'not_allowed' }],
    ['the report is refused for no fault of its contents', { report: 410 }],
    ['the purchase cannot be read after a no', { check: 'SERVICE_NOT_ACTIVATED', entitlement: 400 }],
  ] as const)('waits and tells a person where %s: nothing is lost [GC-60]', async (_, answers) => {
    await closedHours(answers);
    for (let n = 0; n < 3; n += 1) {
      await h.metering.submitDue();
      h.clock.advance(600_000);
    }
    expect((await items()).map((i) => i.state).filter((s) => !['pending', 'deferred'].includes(s))).toEqual([]);
    expect(await lost()).toEqual([]);
    if (!('entitlement' in answers))
      expect(await findings()).toMatchObject([
        { kind: 'secret_expiring', evidence: { marketplace: 'azure', detail: expect.stringMatching(/^gcp\./) } },
      ]);
    google.answers = {};
    await sendUntilTaken();
  });

  it('is not built with a guessed type: it waits while the live configuration may not be read, and a person is told [GC-45]', async () => {
    await closedHours({ config: 403, type: 'DOUBLE' });
    await h.metering.submitDue();
    expect(await items()).toMatchObject([{ state: 'deferred', last_code: 'references_missing' }, { state: 'deferred' }]);
    expect(google.reported).toEqual([]);
    expect(await findings()).toMatchObject([
      { kind: 'secret_expiring', evidence: { detail: expect.stringContaining('gcp.unauthorised') } },
    ]);
    google.answers = { type: 'DOUBLE' };
    passRealMinutes(2);
    await sendUntilTaken();
    expect(google.reported.join()).toContain('"doubleValue":3');
    expect(google.reported.join()).not.toContain('int64Value');
  });

  it('of a metric that the live configuration lacks waits, is told of before it is lost, and goes out once it is there [GC-45]', async () => {
    await closedHours({ type: null });
    await h.metering.submitDue();
    expect(await findings(), 'it may be there in a minute').toEqual([]);
    h.clock.set(
      new Date((await h.rows<{ target_at: Date }>('select target_at from submission_items limit 1'))[0]!.target_at.getTime() + 1_000),
    );
    await h.metering.submitDue();
    await h.metering.submitDue();
    const told = {
      kind: 'usage_unbuilt',
      evidence: { why: expect.stringContaining(`has no metric ${METRIC}`), remedy: 'berth doctor azure' },
    };
    expect(await findings(), 'one a purchase').toMatchObject([told, told]);
    google.answers = {};
    passRealMinutes(2);
    await sendUntilTaken();
    expect(await lost()).toEqual([]);
  });

  it('whose check is refused waits, and nothing of it is lost [GC-60]', async () => {
    await closedHours({ check: 400 });
    await h.metering.submitDue();
    expect(await items()).toMatchObject([
      { state: 'deferred', last_code: 'gcp.check_refused' },
      { state: 'deferred', last_code: 'gcp.check_refused' },
    ]);
    google.answers = {};
    await sendUntilTaken();
  });
});
