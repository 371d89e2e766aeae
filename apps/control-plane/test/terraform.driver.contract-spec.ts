import { describeDriverConformance, type ConformanceHarness } from '#provisioning/core/testing';
import { aCall, outputOf } from '#provisioning/core/testing';
import { SPEC, TerraformHouse } from './support/terraform.js';
import { until } from './support/house.js';

// Here and not in the driver's room: cells are another driver's, and drivers may not see each other.
describeDriverConformance('terraform', async (): Promise<ConformanceHarness> => {
  const h = await new TerraformHouse().start();
  return {
    driver: h.driver,
    spec: () => SPEC,
    destructiveSpec: () => ({ ...SPEC, region: 'local-b' }),
    harmlessSpec: () => ({ ...SPEC, shape: 'cell-large' }),
    write: async (ref, placement, name, text) => {
      const container = h.container(ref, placement);
      await container.createIfNotExists();
      await container.getBlockBlobClient(name).upload(text, Buffer.byteLength(text));
    },
    read: async (ref, placement, name) => {
      const read = h.container(ref, placement).getBlockBlobClient(name).downloadToBuffer();
      return read.then(
        (bytes) => bytes.toString(),
        (error: { statusCode?: number }) => (error.statusCode === 404 ? null : Promise.reject(error as Error)),
      );
    },
    plantOrphan: async () => {
      const planning = aCall('orphan-cell');
      const plan = await outputOf(() => h.cells.plan(planning, SPEC));
      const call = aCall('orphan-cell');
      await outputOf(() => h.cells.apply(call, { plan }));
      return 'orphan-cell';
    },
    breakCluster: async (ref) => {
      h.killCell(ref);
      await until(
        async () => h.cellProcesses(),
        (cells) => !cells.includes(ref),
      );
    },
    fingerprint: () => h.fingerprint(),
    dispose: () => h.dispose(),
  };
});
