import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlobServiceClient, StorageRetryPolicyType, StorageSharedKeyCredential, type ContainerClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { House, until } from './support/house.js';

const MIB = 1_048_576;

interface View {
  planId: string;
  operations: { action: string; status: string }[];
}

/** A real cell measures what the buyer stores; standard allows 1 MiB here, premium 4. */
describe('a smaller plan, where more is stored than it allows', () => {
  const catalog = mkdtempSync(join(tmpdir(), 'berth-catalog-'));
  const house = new House({ BERTH_CATALOG: catalog });
  let id = '';
  let externalId = '';
  let container!: ContainerClient;
  beforeAll(async () => {
    cpSync(join(projectRoot(), 'catalog'), catalog, { recursive: true });
    const file = join(catalog, 'azure.yaml');
    const sold = readFileSync(file, 'utf8');
    writeFileSync(
      file,
      sold.replace("hardLimit: '134217728'", `hardLimit: '${MIB}'`).replace("hardLimit: '268435456'", `hardLimit: '${4 * MIB}'`),
    );
    await house.start();
    const bought = await house.buy('Winter data', 'premium');
    externalId = bought.externalId;
    const ready = await house.land(bought.sessionId, 'Winter Observatory');
    const { url, accountName, keys } = ready.json['endpoint'] as { url: string; accountName: string; keys: { secret: string }[] };
    const service = new BlobServiceClient(url, new StorageSharedKeyCredential(accountName, keys[0]!.secret), {
      retryOptions: { retryPolicyType: StorageRetryPolicyType.FIXED, maxTries: 1 },
    });
    container = service.getContainerClient('plates');
    await container.create();
    const active = await until(
      () => house.subscriptionOf(externalId),
      (s) => s['state'] === 'active',
    );
    id = String(active['id']);
  }, 60_000);
  afterAll(async () => {
    await house.stop();
    rmSync(catalog, { recursive: true, force: true });
  }, 30_000);

  const change = (toPlan: string) =>
    house.api('POST', `/subscriptions/${id}/changes`, { kind: 'plan', toPlan, reason: 'agreed by phone', buyerConsent: true });
  /** Their clock and ours go on until the cell has told what is stored. */
  const measured = (bytes: number): Promise<unknown> =>
    until(
      async () => {
        await house.shop('POST', '/clock/advance', { seconds: 300, stepSeconds: 300 });
        return house.sql(`select value::text from usage_events where metric = 'stored_bytes' order by occurred_at desc limit 1`);
      },
      ([newest]) => newest?.['value'] === String(bytes),
      60_000,
    );
  const atAzure = async (): Promise<View> => (await house.shop('GET', '/azure/subscriptions')).json.items![0] as unknown as View;

  it('is refused to an operator by a code and to the buyer at the marketplace, and goes through once the data has shrunk', async () => {
    await container.getBlockBlobClient('plate-1').upload(Buffer.alloc(2 * MIB), 2 * MIB);
    await measured(2 * MIB);
    expect(await change('standard')).toMatchObject({ status: 409, json: { code: 'change.stored_more' } });

    await house.shop('POST', `/azure/subscriptions/${externalId}/change-plan`, { planId: 'standard' });
    const refused = await until(atAzure, (view) =>
      view.operations.some((one) => one.action === 'ChangePlan' && one.status !== 'InProgress'),
    );
    expect(refused).toMatchObject({ planId: 'premium', operations: [{ action: 'ChangePlan', status: 'Failed' }] });
    expect(await house.sql('select state, reason from change_requests')).toMatchObject([
      { state: 'refused', reason: expect.stringContaining('More is stored than plan standard allows') },
    ]);

    await container.getBlockBlobClient('plate-1').delete();
    await container.getBlockBlobClient('plate-2').upload(Buffer.alloc(MIB / 2), MIB / 2);
    await measured(MIB / 2);
    expect(await change('standard')).toMatchObject({ status: 202 });
    await until(
      async () => {
        await house.shop('POST', '/clock/advance', { seconds: 10, stepSeconds: 10 });
        return house.subscriptionOf(externalId);
      },
      (s) => s['planId'] === 'standard' || s['externalPlanId'] === 'standard',
    );
  }, 150_000);
});
