import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describeDriverConformance, type ConformanceHarness } from '#provisioning/core/testing';
import { eventually, LocalHarness, refusalOf, SPEC } from './testing/local-harness.js';

describeDriverConformance('local', async (): Promise<ConformanceHarness> => {
  const h = new LocalHarness();
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
      const blob = h.container(ref, placement).getBlockBlobClient(name);
      const read = blob.downloadToBuffer().then((b) => b.toString());
      return read.catch(async (error: unknown) => {
        const { status } = await refusalOf(Promise.reject(error as Error));
        if (status === 404) return null;
        throw error;
      });
    },
    useProbe: async (access, open) => {
      const service = new BlobServiceClient(access.endpoint, new StorageSharedKeyCredential(access.accountName, access.secretBase64), {
        retryOptions: { maxTries: 1 },
      });
      const created = await service.createContainer(`c${Date.now()}`).then(
        () => true,
        () => false,
      );
      if (created !== open) throw new Error(`the probe's account is ${created ? 'open' : 'closed'}`);
    },
    plantOrphan: async () => {
      await h.cell('orphan-cell');
      return 'orphan-cell';
    },
    breakCluster: async (ref) => {
      const { pid } = h.pid(ref);
      h.kill(ref);
      await eventually(() => {
        try {
          process.kill(pid, 0);
          return false;
        } catch {
          return true;
        }
      });
    },
    fingerprint: async () => {
      const cells = join(h.root, 'cells');
      const files = readdirSync(cells, { recursive: true })
        .map(String)
        .filter((f) => !f.includes('blobs'))
        .sort();
      return JSON.stringify(files.map((f) => [f, statSync(join(cells, f)).mtimeMs, statSync(join(cells, f)).size]));
    },
    dispose: () => h.dispose(),
  };
});
