import { describe, expect, it } from 'vitest';
import type { DriverCapabilities } from '#provisioning/core';
import type { PlacementWish } from './cluster-room.js';
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
  variant: 'local_dev',
  signInModes: ['shared_key'],
  probes: false,
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
  dedicated: false,
  capacityBytes: null,
  reservedBytes: 0n,
  identityTaken: {},
  ...change,
});
const wish: PlacementWish = { region: 'here', shape: 'small', dedicated: false, identity: [], hardQuotaBytes: 10n };
const policy = { cellCapacity: 8, maxClusters: null, overcommitPercent: 100, shapeDrivers: {} };

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

  describe('by what is set aside and bound', () => {
    const shaped = (shape: Partial<DriverCapabilities['shapes'][number]>) =>
      offer({ shapes: [{ name: 'small', minNodes: 1, maxNodes: 1, capacityBytes: '100', identitySlots: { oidc: 1, ldap: 2 }, ...shape }] });
    const choose = (over: Partial<PlacementWish>, rooms: ClusterRoom[], change: Partial<typeof policy> = {}) =>
      choosePlacement({ ...wish, ...over }, [shaped({})], rooms, { ...policy, ...change });

    it('sets aside no more than a cluster has, with what the operator adds to it', () => {
      const rooms = [room('a', { occupied: 1, reservedBytes: 91n })];
      expect(choose({}, rooms)).toHaveProperty('create');
      expect(choose({}, rooms, { overcommitPercent: 101 })).toEqual({ use: 'a' });
      expect(choose({ hardQuotaBytes: 9n }, rooms)).toEqual({ use: 'a' });
      expect(choose({}, [room('larger', { occupied: 1, reservedBytes: 91n, capacityBytes: '101' })])).toEqual({ use: 'larger' });
      expect(choose({}, [room('smaller', { capacityBytes: '9' })])).toHaveProperty('create');
    });

    it('puts what has no limit where nobody is, and nobody beside it', () => {
      expect(choose({ hardQuotaBytes: null }, [room('a', { occupied: 1 }), room('empty')])).toEqual({ use: 'empty' });
      expect(choose({}, [room('a', { occupied: 1, reservedBytes: null })])).toHaveProperty('create');
    });

    it('refuses what no cluster of the shape will ever have', () => {
      expect(() => choose({ hardQuotaBytes: 101n }, [])).toThrow(expect.objectContaining({ code: 'placement.larger_than_shape' }));
      expect(() => choose({ identity: ['saml'] }, [])).toThrow(expect.objectContaining({ code: 'placement.identity_unsupported' }));
      expect(() => choose({ identity: ['oidc', 'oidc'] }, [])).toThrow(/oidc/);
      expect(() => choosePlacement({ ...wish, identity: ['oidc'] }, [offer()], [], policy)).toThrow(/oidc/);
    });

    it('gives each provider a slot of its kind', () => {
      const rooms = [room('a', { occupied: 5, identityTaken: { oidc: 1 } }), room('b', { occupied: 1, identityTaken: { ldap: 1 } })];
      expect(choose({ identity: ['oidc'] }, rooms)).toEqual({ use: 'b' });
      expect(choose({ identity: ['ldap', 'ldap'] }, rooms)).toEqual({ use: 'a' });
      expect(choose({ identity: ['ldap', 'oidc'] }, [rooms[0]!])).toHaveProperty('create');
      expect(choose({}, rooms)).toEqual({ use: 'a' });
    });

    it('shares a dedicated cluster with nobody, and gives a shared one to nobody alone', () => {
      const rooms = [room('shared'), room('taken', { dedicated: true, occupied: 1 })];
      expect(choose({ dedicated: true }, rooms)).toHaveProperty('create');
      expect(choose({ dedicated: true }, [...rooms, room('left', { dedicated: true })])).toEqual({ use: 'left' });
      expect(choose({}, [room('left', { dedicated: true })])).toHaveProperty('create');
    });
  });
});
