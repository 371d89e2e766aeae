import { type aPlacement, describeDriverConformance, FakeDriver } from './index.js';

describeDriverConformance('fake', async () => {
  const driver = new FakeDriver({ now: () => new Date() });
  const spec = { region: 'here', shape: 'small', nodes: 1, version: null, capacityBytes: null, labels: {} };
  const keys = new Map<string, string>();
  const open = (clusterRef: string, p: ReturnType<typeof aPlacement>): void => {
    const own = driver.clusters.get(clusterRef)?.placements.get(p.placementId);
    if (own && !own.keys.some((k) => k.secretBase64 === p.keys[0]?.secretBase64)) throw new Error('403 foreign key');
  };
  return {
    driver,
    spec: () => spec,
    destructiveSpec: () => ({ ...spec, region: 'there' }),
    harmlessSpec: () => ({ ...spec, shape: 'large' }),
    write: async (ref, p, name, text) => (open(ref, p), driver.write(ref, p.placementId, name, text)),
    read: async (ref, p, name) => (open(ref, p), driver.read(ref, p.placementId, name)),
    plantOrphan: async () => (driver.plantOrphan('orphan-1'), 'orphan-1'),
    breakCluster: async (ref) => void (driver.clusters.get(ref)!.broken = true),
    fingerprint: async () =>
      JSON.stringify([...driver.clusters].map(([k, c]) => [k, c.serial, c.generation, [...c.placements], [...keys]])),
    dispose: async () => undefined,
  };
});
