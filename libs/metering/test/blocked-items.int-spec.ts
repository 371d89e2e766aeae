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
    const blocked = await house.h.rows(`select evidence ->> 'itemId' as id from findings where kind = 'lane_parked'`);
    expect(blocked).toEqual([{ id: item!.id }]);
  });
});
