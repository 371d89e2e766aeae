/** The data-path proof: what a buyer's SDK does, through the gateway, in an account that no meter reads. */
import { BlobServiceClient, StorageRetryPolicyType, StorageSharedKeyCredential } from '@azure/storage-blob';
import { randomBytes } from 'node:crypto';
import type { ValidationReport } from '#provisioning/core';
import { callCell, identify } from './cell-client.js';
import type { CellFile } from './wire.js';

type Evidence = ValidationReport['evidence'][number];
const TIMEOUT_MS = 8000;

export async function probeCell(cell: CellFile): Promise<ValidationReport> {
  const evidence: Evidence[] = [];
  const check = async (name: string, work: () => Promise<string>): Promise<boolean> => {
    const began = performance.now();
    const add = (result: Evidence['result'], detail: string): void =>
      void evidence.push({ check: name, result, detail, ms: Math.round(performance.now() - began) });
    try {
      add('pass', await work());
      return true;
    } catch (error) {
      // Refused permission to connect at all is our lack of a route, not the cell's failure (contract provisioning §3.4).
      const noRoute = ['EPERM', 'EACCES', 'ENETUNREACH', 'EHOSTUNREACH'].includes((error as { code?: string }).code ?? '');
      add(noRoute ? 'unknown' : 'fail', (error instanceof Error ? error.message : String(error)).slice(0, 300));
      return false;
    }
  };
  let probe: { accountName: string; secretBase64: string } | undefined;
  const control = await check('control_path', async () => {
    if (!(await identify(cell))) throw new Error('nobody who can prove to be the cell answers at its admin port');
    probe = await callCell(cell, 'POST', '/probes', {}, TIMEOUT_MS);
    return 'the cell answers and made a probe account';
  });
  if (control && probe) {
    const { accountName, secretBase64 } = probe;
    await check('data_path', () => roundTrip(cell, accountName, secretBase64));
    await check('foreign_key', () => foreignKey(cell, accountName));
    await check('clean_up', async () => {
      await callCell(cell, 'DELETE', `/probes/${accountName}`, undefined, TIMEOUT_MS);
      return 'the probe account is gone';
    });
  }
  const worst = evidence.some((e) => e.result === 'fail') ? 'fail' : evidence.some((e) => e.result === 'unknown') ? 'unknown' : 'pass';
  return { result: worst, evidence };
}

function service(cell: CellFile, accountName: string, secretBase64: string): BlobServiceClient {
  return new BlobServiceClient(
    `http://127.0.0.1:${cell.gatewayPort}/${accountName}`,
    new StorageSharedKeyCredential(accountName, secretBase64),
    {
      retryOptions: { retryPolicyType: StorageRetryPolicyType.FIXED, maxTries: 1, tryTimeoutInMs: TIMEOUT_MS },
    },
  );
}

async function roundTrip(cell: CellFile, accountName: string, secretBase64: string): Promise<string> {
  const container = service(cell, accountName, secretBase64).getContainerClient('probe');
  const content = randomBytes(64 * 1024);
  const blob = container.getBlockBlobClient('probe.bin');
  await container.create();
  await blob.uploadData(content);
  const back = await blob.downloadToBuffer();
  if (!back.equals(content)) throw new Error('what was read is not what was written');
  await blob.delete();
  if (await blob.exists()) throw new Error('a deleted blob is still there');
  await container.delete();
  return 'wrote, read back, compared and deleted 65536 bytes';
}

async function foreignKey(cell: CellFile, accountName: string): Promise<string> {
  const status = await service(cell, accountName, randomBytes(64).toString('base64'))
    .getProperties()
    .then(
      () => 200,
      (error: unknown) => (error as { statusCode?: number }).statusCode ?? 0,
    );
  if (status !== 403) throw new Error(`a foreign key was answered with ${status}, not 403`);
  return 'a foreign key is refused with 403';
}
