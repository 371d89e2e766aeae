import { describe, expect, it } from 'vitest';
import { compareDecimals } from '#platform';
import { effectiveLimits, overLimit } from './build-limits.js';
import { compareVersions, violations } from './constraint-rules.js';
import { gatesOf, type GateDecision, type Proofs } from './readiness.js';

describe('constraint rules', () => {
  const broken = (wish: Partial<Parameters<typeof violations>[0]>): string[] =>
    violations({ osVersion: '5.4', ...wish }).map((v) => v.rule);

  it.each([
    ['a name with an underscore', { tenantName: 'north_wind' }, ['tenant_name.no_underscore']],
    [
      'the same before 5.3, so that an upgrade strands nobody',
      { tenantName: 'north_wind', osVersion: '5.1' },
      ['tenant_name.no_underscore'],
    ],
    ['a name without one', { tenantName: 'north-wind' }, []],
    ['keys in Azure Key Vault', { customerManagedKeys: 'azure_key_vault' }, ['cmk.azure_key_vault']],
    ['keys elsewhere', { customerManagedKeys: 'kmip' }, []],
    ['TLS for Block on 5.6', { blockTls: true, osVersion: '5.6' }, ['block.tls']],
    ['TLS for Block on a patch before it', { blockTls: true, osVersion: '5.5.9' }, ['block.tls']],
    ['TLS for Block on a version nobody names', { blockTls: true, osVersion: null }, ['block.tls']],
    ['TLS for Block on a later one, by number and not by letter', { blockTls: true, osVersion: '5.10' }, []],
  ])('judge %s', (_, wish, rules) => expect(broken(wish)).toEqual(rules));

  it('compare versions part by part', () => {
    expect([compareVersions('5.10', '5.9'), compareVersions('5.6', '5.6.0'), compareVersions('5', '5.1')].map(Math.sign)).toEqual([
      1, 0, -1,
    ]);
  });
});

describe('readiness gates', () => {
  const PROVED: Proofs = {
    azcopy: { result: 'pass', runId: 'cfr_1', lacking: [] },
    shape: { state: 'green', reason: 'It was tried.' },
    violations: [],
  };
  const YES: GateDecision = { gate: 'variant.available', state: 'green', reason: 'It is ready.', decidedBy: 'ann' };
  const shut = (
    proofs: Partial<Proofs>,
    decisions: GateDecision[] = [YES],
    blob = true,
    variant: 'cloud_iaas' | 'local_dev' = 'cloud_iaas',
  ) => gatesOf(variant, blob, { ...PROVED, ...proofs }, decisions);

  it('are open only when each required one is green', () => {
    expect(shut({}).open).toBe(true);
    expect(shut({}, []).open).toBe(false);
    expect(shut({ shape: { state: 'unknown', reason: 'Nobody knows.' } }).open).toBe(false);
    expect(shut({ azcopy: null }).open).toBe(false);
    for (const result of ['fail', 'not_supported', 'unknown'] as const)
      expect(shut({ azcopy: { result, runId: 'cfr_1', lacking: [] } }).open).toBe(false);
    expect(shut({ violations: [{ rule: 'block.tls', reason: 'Not there.' }] }).open).toBe(false);
  });

  it('ask for the Blob proof only of plans that sell Blob', () => {
    expect(shut({ azcopy: null }, [YES], false).open).toBe(true);
    expect(shut({ azcopy: null }, [YES], false).gates.map((g) => g.gate)).not.toContain('blob.azcopy');
  });

  it('let a pilot be built before it could be proved, and not after it was seen to fail', () => {
    const pilot: GateDecision = { ...YES, gate: 'variant.pilot' };
    expect(shut({ azcopy: null }, [YES, pilot]).open).toBe(true);
    expect(shut({ azcopy: { result: 'fail', runId: 'cfr_1', lacking: [] } }, [YES, pilot]).open).toBe(false);
    expect(shut({ azcopy: null }, [YES, { ...pilot, state: 'red' }]).open).toBe(false);
  });

  it('leave one’s own machine open until something is red', () => {
    const nothing: Proofs = { azcopy: null, shape: { state: 'unknown', reason: '' }, violations: [] };
    expect(gatesOf('local_dev', true, nothing, []).open).toBe(true);
    expect(gatesOf('local_dev', true, nothing, [{ ...YES, state: 'red' }]).open).toBe(false);
    expect(gatesOf('local_dev', true, { ...nothing, azcopy: { result: 'fail', runId: 'cfr_1', lacking: [] } }, []).open).toBe(false);
  });

  it('let nobody say green over a proof, and anybody say red', () => {
    const said = (state: GateDecision['state']): GateDecision => ({ ...YES, gate: 'blob.azcopy', state });
    expect(shut({ azcopy: null }, [YES, said('green')]).open).toBe(false);
    expect(shut({}, [YES, said('red')]).open).toBe(false);
    expect(shut({}, [YES, said('unknown')]).open).toBe(true);
  });

  it('take the worst of what is decided here and everywhere, in whatever order', () => {
    const no: GateDecision = { ...YES, state: 'red', reason: 'Not yet.' };
    expect(shut({}, [YES, no]).open).toBe(false);
    expect(shut({}, [no, YES]).open).toBe(false);
    expect(shut({}, [YES, { ...no, gate: 'network.private_link' }]).open).toBe(false);
  });
});

describe('limits of a build', () => {
  const most = { maxNodes: 3, maxCostPerHour: { amountPerHour: '10.50', currency: 'USD' } };
  const cost = (amountPerHour: string, currency = 'USD') => ({ nodes: 1, cost: { amountPerHour, currency } });

  it.each([
    ['more nodes', { nodes: 4 }, 'limit.max_nodes'],
    ['as many nodes', { nodes: 3 }, null],
    ['a cost above it', cost('10.51'), 'limit.max_cost_per_hour'],
    ['the same cost, written otherwise', cost('10.5'), null],
    ['a cost that only looks smaller', cost('9'), null],
    ['a cost that nobody knows', { nodes: 1, cost: null }, 'limit.cost_unknown'],
    ['a cost in other money', cost('1', 'EUR'), 'limit.cost_unknown'],
  ])('judge %s', (_, build, code) => expect(overLimit(most, build)?.code ?? null).toBe(code));

  it('are the plan’s where an operator’s word leaves them out, and none where it says null', () => {
    const ofPlan = { maxNodes: 2, maxCostPerHour: { amountPerHour: '1', currency: 'USD' } };
    expect(effectiveLimits(ofPlan, { maxNodes: 5 })).toEqual({ ...ofPlan, maxNodes: 5 });
    expect(overLimit(effectiveLimits(ofPlan, { maxNodes: null }), { nodes: 99 })).toBeNull();
    expect(effectiveLimits(ofPlan, null)).toBe(ofPlan);
    expect(effectiveLimits(null, { maxNodes: 1 })).toEqual({ maxNodes: 1 });
  });

  it('hold nobody who has none', () => {
    expect(overLimit(null, { nodes: 99, cost: null })).toBeNull();
    expect(compareDecimals('0.1', '0.10')).toBe(0);
    expect(compareDecimals('123456789012345678901.1', '123456789012345678901.2')).toBe(-1);
  });
});
