import { describe, expect, it } from 'vitest';
import type { MeterIdentity } from '../domain/plan-version.js';
import { meterFaults } from './catalog-faults.js';

const meter = (over: Partial<MeterIdentity> = {}): MeterIdentity => ({
  meter: 'calls',
  metric: 'calls',
  kind: 'counter',
  source: 'cell',
  ...over,
});

describe('what a meter is', () => {
  it('is the same in all files', () => {
    expect(meterFaults([meter(), meter()])).toEqual([]);
    expect(meterFaults([meter(), meter({ kind: 'sum' })])).toEqual([
      'catalog.meter_differs: meter calls is counter of calls (cell) in one place and sum of calls (cell) in another; give it a name of its own',
      'catalog.metric_differs: metric calls is reported as counter in one place and reported as delta in another; give it a name of its own',
    ]);
    expect(meterFaults([meter({ meter: 'peak', kind: 'max' }), meter({ meter: 'hours', kind: 'gauge_integral' })])).toEqual([]);
  });

  it('stays as purchases count it; where these contradict each other from before there was the rule, a start is still possible', () => {
    expect(meterFaults([meter({ kind: 'sum' })], [meter()])).toHaveLength(2);
    const history = [meter(), meter({ kind: 'sum' })];
    expect(meterFaults([meter()], history)).toEqual([]);
    expect(meterFaults([meter({ kind: 'sum' })], history)).toEqual([]);
    expect(meterFaults([meter({ kind: 'max' })], history)).toHaveLength(2);
  });
});
