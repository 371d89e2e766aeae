import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, EGRESS, GIB, Harness, MIB, STORED } from '../src/testing/index.js';

const START = at('10T10:00');
const NEXT = at('10T11:00');

/** What one purchase cannot do must not keep the others from being billed. */
describe('an hour that cannot be written', () => {
  let own: TestDatabase;
  let of: Harness;
  let admin: pg.Client;
  beforeEach(async () => {
    own = await createTestDatabase();
    of = await Harness.open(own.url(), own.secret, START);
    admin = new pg.Client({ connectionString: own.url() });
    await admin.connect();
  });
  afterEach(async () => {
    await admin.end();
    await of.close();
    await own.drop();
  });

  /** As many purchases, all in shard 7, with samples until 11:00, which it is now. */
  async function houseOf(n: number): Promise<{ subscriptionId: string; placementId: string }[]> {
    const gold = await of.fixtures.plan([STORED, EGRESS]);
    const bought = [];
    for (let i = 0; i < n; i++) bought.push(await of.buy(gold, START));
    await of.metering.closeDueHours(); // makes the series
    await of.rows('update series set shard = 7');
    of.clock.set(NEXT);
    await of.report(
      bought.map((p) => p.placementId),
      START,
      NEXT,
      3n * GIB,
      2n * MIB,
    );
    return bought;
  }
  const closedOf = async (): Promise<string[]> =>
    (await of.rows<{ id: string }>('select distinct subscription_id as id from hour_closings')).map((r) => r.id).sort();
  const blocked = (): Promise<unknown[]> =>
    of.rows('select subscription_id as id, count(*)::int as series from series where blocked_until is not null group by 1');

  it('stops its own purchase, which says why; the others of its shard close, and so does it when it is mended', async () => {
    const bought = await houseOf(5);
    const [, culprit] = bought.map((p) => p.subscriptionId);
    // Booked already by nobody knows whom: the natural key refuses a second row.
    await admin.query(
      `insert into ledger_entries (subscription_id, meter, hour, segment_id, term, cause, ref, tenant_id, quantity, recorded_at)
       select s.subscription_id, 'gib_hours_stored', $2, g.segment_id, 'measured', 'samples', '', s.tenant_id, 1, $2
         from subscriptions s join segments g using (subscription_id) where s.subscription_id = $1`,
      [culprit, START],
    );
    await of.metering.closeDueHours();
    const others = bought.map((p) => p.subscriptionId).filter((id) => id !== culprit);
    expect(await closedOf()).toEqual(others.sort());
    expect(await blocked()).toEqual([{ id: culprit, series: 2 }]);
    const findings = await of.rows<{ reason: string }>(
      `select subscription_id as id, evidence ->> 'meter' as meter, evidence ->> 'reason' as reason from findings where kind = 'lane_parked' order by 2`,
    );
    expect(findings).toMatchObject([
      { id: culprit, meter: STORED.meter },
      { id: culprit, meter: EGRESS.meter },
    ]);
    expect(findings[0]!.reason).toContain('ledger_entries');

    // Let go before its cause is mended, it stands still again and says so again; while a finding is open there is no other.
    const open = (): Promise<{ id: string }[]> =>
      of.rows(`select finding_id as id from findings where kind = 'lane_parked' and settlement is null and evidence ->> 'meter' = $1`, [
        STORED.meter,
      ]);
    for (let round = 0; round < 2; round += 1) {
      const [finding] = await open();
      const by = { keyId: 'ada', name: 'Ada' };
      await of.db.ops((tx) =>
        of.metering.settleByPerson(tx, { findingId: finding!.id, settlement: 'release', reason: 'should be well', by }),
      );
      await of.metering.closeDueHours();
      await of.metering.closeDueHours();
      const after = await open();
      expect(after).toHaveLength(1);
      expect(after[0]!.id).not.toBe(finding!.id);
    }

    await admin.query('set session_replication_role = replica');
    await admin.query('delete from ledger_entries where subscription_id = $1', [culprit]);
    of.clock.set(at('10T11:11'));
    await of.metering.closeDueHours();
    expect(await closedOf()).toEqual(bought.map((p) => p.subscriptionId).sort());
    expect(await blocked()).toEqual([]);
  });

  it('stops its own purchase also where what the hour before handed on cannot be read', async () => {
    const bought = await houseOf(3);
    const culprit = bought[2]!.subscriptionId;
    await admin.query(`update series set state = '{"capacityBytes": "much"}' where subscription_id = $1 and meter = $2`, [
      culprit,
      EGRESS.meter,
    ]);
    await of.metering.closeDueHours();
    expect(await blocked()).toEqual([{ id: culprit, series: 2 }]);
    expect((await closedOf()).length).toBe(2);
  });

  it('is not put down to purchases where it is a whole shard, fails the pass, and the other shards close', async () => {
    const bought = await houseOf(18);
    const elsewhere = bought[9]!.subscriptionId;
    await admin.query('update series set shard = 8 where subscription_id = $1', [elsewhere]);
    await admin.query(`
      create function refuse_root() returns trigger language plpgsql as $$ begin if new.shard = 7 then raise 'no root here'; end if; return new; end $$;
      create trigger refuse_root before insert on hour_roots for each row execute function refuse_root()`);
    await expect(of.metering.closeDueHours()).rejects.toThrow('no root here');
    expect(await closedOf()).toEqual([elsewhere]);
    expect(await blocked()).toEqual([]);
  });

  it('of a group whose series cannot be made leaves the other groups alone', async () => {
    const gold = await of.fixtures.plan([STORED]);
    const one = await of.buy(gold, START);
    let other = await of.buy(gold, START);
    while (other.subscriptionId.slice(0, 2) === one.subscriptionId.slice(0, 2)) other = await of.buy(gold, START);
    await admin.query(`
      create function refuse_series() returns trigger language plpgsql as $$ begin if new.subscription_id = '${one.subscriptionId}' then raise 'no series here'; end if; return new; end $$;
      create trigger refuse_series before insert on series for each row execute function refuse_series()`);
    await expect(of.metering.closeDueHours()).rejects.toThrow('no series here');
    expect(
      await of.rows('select subscription_id as id from series where subscription_id = any($1)', [
        [one.subscriptionId, other.subscriptionId],
      ]),
    ).toEqual([{ id: other.subscriptionId }]);
  });
});
