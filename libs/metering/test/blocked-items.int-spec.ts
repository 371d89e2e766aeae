import { describe, expect, it } from 'vitest';
import { at } from '../src/testing/index.js';
import { WaitingHouse } from './waiting-house.js';

describe('an item past its deadline whose loss cannot be written', () => {
  const house = new WaitingHouse();

  it('is a finding, once, and keeps no other from being named', async () => {
    await house.open(5, 1);
    const [item] = await house.h.rows<{ id: string }>('select item_id as id from submission_items order by 1 limit 1');
    // Booked already by nobody knows whom: the natural key refuses a second row.
    await house.h.rows(
      `insert into ledger_entries (subscription_id, meter, hour, segment_id, term, cause, ref, tenant_id, quantity, recorded_at)
       select r.subscription_id, r.meter, r.hour, r.segment_id, 'loss', 'expired', i.item_id::text, r.tenant_id, 1, r.hour
         from submission_items i join usage_records r using (record_id) where i.item_id = $1`,
      [item!.id],
    );
    house.h.clock.set(at('11T12:00'));
    await house.h.metering.submitDue();
    await house.h.metering.submitDue();
    expect(await house.states()).toEqual({ expired: 4, pending: 1 });
    expect(
      await house.counted(
        `select kind || coalesce(': ' || (evidence ->> 'reason'), '') as what, count(*)::int as n from findings group by 1`,
      ),
    ).toMatchObject({ 'loss.expired': 4 });
    const blocked = (): Promise<{ id: string; finding: string }[]> =>
      house.h.rows(
        `select evidence ->> 'itemId' as id, finding_id as finding from findings where kind = 'lane_parked' and settlement is null`,
      );
    const [told, ...more] = await blocked();
    expect([told!.id, more]).toEqual([item!.id, []]);

    // A person says that it is mended, and it is not.
    const by = { keyId: 'ada', name: 'Ada' };
    const wish = { findingId: told!.finding, settlement: 'release' as const, reason: 'should be well', by };
    await house.h.db.ops((tx) => house.h.metering.settleByPerson(tx, wish));
    const [{ effect }] = (await house.h.rows<{ effect: string }>(
      `select settlement ->> 'effect' as effect from findings where finding_id = $1`,
      [told!.finding],
    )) as [{ effect: string }];
    expect(effect).toContain('its submission gets its outcome at the next sweep');
    await house.h.metering.submitDue();
    await house.h.metering.submitDue();
    expect(await blocked()).toMatchObject([{ id: item!.id }]);
  });
});
