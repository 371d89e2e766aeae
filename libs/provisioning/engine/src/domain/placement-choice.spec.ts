import { describe, expect, it } from 'vitest';
import type { DriverCapabilities } from '#provisioning/core';
import { choosePlacement, newAccountName, newClusterName, newKeySecret, type ClusterRoom } from './placement-choice.js';

const offer = (change: Partial<DriverCapabilities> = {}): DriverCapabilities => ({
  driver: 'local',
  regions: ['here', 'there'],
  shapes: [{ name: 'small', minNodes: 1, maxNodes: 1 }],
  versions: [],
  resizeUp: false,
  resizeDown: false,
  upgrade: false,
  importExisting: false,
  cancel: true,
  suspendKinds: ['access'],
  protocols: [],
  maxPlacements: null,
  keyRotation: true,
  hardQuota: true,
  ...change,
});
const room = (clusterId: string, change: Partial<ClusterRoom> = {}): ClusterRoom => ({
  clusterId,
  name: clusterId,
  driver: 'local',
  region: 'here',
  shape: 'small',
  phase: 'active',
  cordoned: false,
  occupied: 0,
  ...change,
});
const wish = { region: 'here', shape: 'small' };
const policy = { cellCapacity: 8, maxClusters: null, shapeDrivers: {} };

describe('the choice of a cluster', () => {
  it('refuses a shape that no driver offers before any cost', () => {
    expect(() => choosePlacement({ ...wish, shape: 'tiny' }, [offer()], [], policy)).toThrow(
      expect.objectContaining({ code: 'placement.shape_unknown' }),
    );
  });

  it('refuses a region in which the shape is not offered', () => {
    expect(() => choosePlacement({ ...wish, region: 'moon' }, [offer()], [], policy)).toThrow(
      expect.objectContaining({ code: 'placement.region_unknown' }),
    );
  });

  it('fills the fullest cluster that has room', () => {
    const clusters = [room('a', { occupied: 2 }), room('b', { occupied: 7 }), room('c', { occupied: 8 })];
    expect(choosePlacement(wish, [offer()], clusters, policy)).toEqual({ use: 'b' });
  });

  it('takes a cluster that is still being built, so that two requests make one', () => {
    expect(choosePlacement(wish, [offer()], [room('a', { phase: 'requested', occupied: 1 })], policy)).toEqual({ use: 'a' });
  });

  it.each([
    ['failed', { phase: 'failed' as const }],
    ['in another region', { region: 'there' }],
    ['of another driver', { driver: 'other' }],
    ['full', { occupied: 8 }],
  ])('makes a new cluster when the only one is %s', (_case, change) => {
    expect(choosePlacement(wish, [offer()], [room('a', change)], policy)).toMatchObject({
      create: { driver: 'local', spec: { region: 'here', shape: 'small', nodes: 1 } },
    });
  });

  it("counts the driver's own limit too", () => {
    expect(choosePlacement(wish, [offer({ maxPlacements: 2 })], [room('a', { occupied: 2 })], policy)).toHaveProperty('create');
  });

  it('refuses when the operator allows no further cluster', () => {
    expect(() => choosePlacement(wish, [offer()], [room('a', { occupied: 8 })], { ...policy, maxClusters: 1 })).toThrow(
      expect.objectContaining({ code: 'placement.no_capacity', kind: 'unavailable' }),
    );
  });

  it('gives a shape that several drivers offer to the one that the operator named, else to the first', () => {
    const offers = [offer(), offer({ driver: 'terraform' })];
    const named = { ...policy, shapeDrivers: { small: 'terraform' } };
    expect(choosePlacement(wish, offers, [room('a')], named)).toMatchObject({ create: { driver: 'terraform' } });
    expect(choosePlacement(wish, offers, [room('a')], policy)).toEqual({ use: 'a' });
    expect(() => choosePlacement(wish, [offer()], [], named)).toThrow(expect.objectContaining({ code: 'placement.shape_unknown' }));
  });

  it('makes names that drivers take', () => {
    expect(newAccountName()).toMatch(/^[a-z][a-z0-9]{2,23}$/);
    expect(newClusterName('West Europe (2)')).toMatch(/^cell-west-europe-2-[0-9a-f]{8}$/);
    expect(newClusterName('')).toMatch(/^cell-[0-9a-f]{8}$/);
    expect(Buffer.from(newKeySecret(), 'base64')).toHaveLength(64);
  });

  it('puts nobody where an operator wants nobody, or where a cluster goes', () => {
    const rooms = [
      room('cordoned', { cordoned: true, occupied: 3 }),
      room('goes', { phase: 'retiring' }),
      room('gone', { phase: 'retired' }),
    ];
    expect(choosePlacement(wish, [offer()], rooms, policy)).toHaveProperty('create');
    expect(choosePlacement(wish, [offer()], [...rooms, room('open')], policy)).toEqual({ use: 'open' });
  });
});
