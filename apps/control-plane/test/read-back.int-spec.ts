import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ReadBackClock } from '../src/workers/read-back-clock.js';
import { Flows } from './support/flows.js';

describe('the daily comparison of what was accepted', () => {
  let f: Flows;
  beforeEach(async () => {
    f = await Flows.open({ at: '2030-05-03T05:00:00Z' });
  });
  afterEach(() => f?.close());

  it('is booked once a day, for the two days before, whoever looks [AZ-40]', async () => {
    const [one, another] = [new ReadBackClock(f.p), new ReadBackClock(f.p)];
    expect(await one.tick(), 'too early').toBe(0);
    f.clock.set(new Date('2030-05-03T06:10:00Z'));
    expect((await Promise.all([one.tick(), another.tick()])).sort()).toEqual([0, 1]);
    expect(await f.rows('select marketplace, from_at, to_at, requested_by from reconciliations')).toEqual([
      { marketplace: 'azure', from_at: new Date('2030-05-01T00:00:00Z'), to_at: new Date('2030-05-03T00:00:00Z'), requested_by: 'clock' },
    ]);
    f.clock.set(new Date('2030-05-03T23:00:00Z'));
    expect(await one.tick()).toBe(0);
    f.clock.set(new Date('2030-05-04T06:00:00Z'));
    expect(await one.tick()).toBe(1);
  });
});
