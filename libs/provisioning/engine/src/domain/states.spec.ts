import { describe, expect, it } from 'vitest';
import { clusterTransitions, nextCluster, type ClusterPhase } from './cluster-states.js';
import { CHANGEABLE, nextPlacement, placementTransitions, type PlacementPhase } from './placement-states.js';

function reachable(table: Record<string, Record<string, string>>, from: string): Set<string> {
  const seen = new Set([from]);
  for (const phase of seen) for (const to of Object.values(table[phase]!)) seen.add(to);
  return seen;
}

describe('the states of clusters and placements', () => {
  it('reaches every phase of a cluster from its request', () => {
    expect([...reachable(clusterTransitions, 'requested')].sort()).toEqual(Object.keys(clusterTransitions).sort());
  });

  it('lets a cluster come back to active from every phase, a failure included, until it is taken down', () => {
    const leaving: string[] = ['retired'];
    for (const phase of Object.keys(clusterTransitions))
      if (!leaving.includes(phase)) expect(reachable(clusterTransitions, phase), phase).toContain('active');
  });

  it('takes nothing down while work on it is under way, and brings nothing back that is gone', () => {
    const from = Object.entries(clusterTransitions)
      .filter(([, row]) => 'retire' in row)
      .map(([phase]) => phase);
    expect(from.sort()).toEqual(['active', 'approval', 'degraded', 'failed', 'requested']);
    expect(reachable(clusterTransitions, 'retired')).toEqual(new Set(['retired']));
  });

  it('lets no cluster become active but from a proof or from a list that needs none', () => {
    const ways = Object.entries(clusterTransitions).flatMap(([from, row]) =>
      Object.entries(row)
        .filter(([, to]) => to === 'active')
        .map(([event]) => `${from}:${event}`),
    );
    expect(ways.sort()).toEqual(['configuring:settled', 'validating:validated']);
  });

  it('builds what destroys data only after a person has decided', () => {
    expect(Object.values(clusterTransitions.approval).filter((to) => to === 'provisioning')).toHaveLength(1);
    expect(nextCluster('approval', 'approved')).toBe('provisioning');
    expect(() => nextCluster('approval', 'apply')).toThrow('takes no apply');
  });

  it('refuses an event that has no row', () => {
    expect(() => nextCluster('requested', 'validated')).toThrow('takes no validated');
    expect(nextCluster('provisioning', 'replan')).toBe('preflight');
  });

  it('reaches every phase of a placement from its request', () => {
    expect([...reachable(placementTransitions, 'requested')].sort()).toEqual(Object.keys(placementTransitions).sort());
  });

  it('lets a placement become active through a proof only', () => {
    const ways = Object.entries(placementTransitions).flatMap(([from, row]) =>
      Object.entries(row)
        .filter(([, to]) => to === 'active')
        .map(([event]) => `${from}:${event}`),
    );
    expect(ways.sort()).toEqual(['resuming:validated', 'validating:validated']);
  });

  it('lets access be ended from every phase in which it has not ended, and given back for reading alone', () => {
    const before: PlacementPhase[] = [...CHANGEABLE, 'failed'];
    for (const phase of before) expect(nextPlacement(phase, 'end')).toBe('ending');
    expect(reachable(placementTransitions, 'ending')).toEqual(new Set(['ending', 'ended', 'exporting', 'purging', 'purged']));
    expect(placementTransitions.exporting).toEqual({ end: 'ending' });
  });

  it('deletes data of an ended placement only', () => {
    const from = Object.entries(placementTransitions)
      .filter(([, row]) => 'purge' in row)
      .map(([phase]) => phase);
    expect(from).toEqual(['ended']);
    expect(() => nextPlacement('active', 'purge')).toThrow(expect.objectContaining({ code: 'placement.in_state', kind: 'conflict' }));
  });

  it('has a failure for each phase of a cluster in which a driver is called', () => {
    const calling: ClusterPhase[] = ['preflight', 'planned', 'provisioning', 'configuring', 'validating', 'upgrading', 'retiring'];
    for (const phase of calling) expect(nextCluster(phase, 'fail')).toBe('failed');
  });
});
