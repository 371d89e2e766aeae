/** The Blob suite judged: green on a real endpoint, and each rule red when the endpoint breaks that rule and no other. */
import { BlobServiceClient, BlockBlobClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startAzurite, type AzuriteChild } from '../testing/azurite-child.js';
import { FaultyProxy, type Answer, type Fault, type Seen } from '../testing/faulty-proxy.js';
import { judgeRules, type SuiteReport } from './report.js';
import { runBlobSuite, type SuiteOptions } from './suite.js';

const isPut = (s: Seen): boolean => s.method === 'PUT' && !s.query.has('comp') && !s.query.has('restype') && !s.headers['x-ms-copy-source'];
const comp = (s: Seen): string | null => s.query.get('comp');
const without = (name: string) => (a: Answer) => void delete a.headers[name];
const created = (s: Seen): Answer => ({
  status: 201,
  headers: { etag: '"0x1"', 'last-modified': 'Sun, 01 Mar 2026 10:00:00 GMT', 'x-ms-request-id': s.url.length.toString() },
  body: Buffer.alloc(0),
});
const accept = (a: Answer, from: number, to: number, code?: string): void => {
  if (a.status !== from || (code !== undefined && a.headers['x-ms-error-code'] !== code)) return;
  a.status = to;
  a.body = Buffer.alloc(0);
  delete a.headers['x-ms-error-code'];
};

/** One fault for each rule. */
const FAULTS: Record<string, Fault> = {
  put_blob: { after: (a, s) => (isPut(s) && a.status === 201 ? without('etag')(a) : undefined) },
  put_block_md5: { after: (a, s) => (comp(s) === 'block' ? accept(a, 400, 201) : undefined) },
  get_blob: {
    after: (a, s) =>
      void (
        s.method === 'GET' &&
        a.status === 200 &&
        a.headers['content-type'] === 'application/x-probe' &&
        (a.headers['content-type'] = 'text/plain')
      ),
  },
  get_range: { after: (a) => accept206(a) },
  head_blob: { after: (a, s) => (s.method === 'HEAD' ? without('x-ms-meta-origin')(a) : undefined) },
  delete_blob: {
    before: (s) => (s.method === 'DELETE' && !s.query.has('restype') && !s.headers['if-match'] ? { ...created(s), status: 202 } : null),
  },
  put_block: {
    after: (a, s) =>
      void (
        s.query.get('blocklisttype') === 'uncommitted' &&
        (a.body = Buffer.from(a.body.toString().replace(/<UncommittedBlocks>.*<\/UncommittedBlocks>/s, '<UncommittedBlocks/>')))
      ),
  },
  put_block_list: { after: (a, s) => (comp(s) === 'blocklist' ? accept(a, 400, 201, 'InvalidBlockList') : undefined) },
  list_flat: {
    after: (a, s) =>
      void (
        comp(s) === 'list' &&
        !s.query.has('delimiter') &&
        (a.body = Buffer.from(a.body.toString().replace(/<NextMarker>.*<\/NextMarker>/s, '<NextMarker/>')))
      ),
  },
  list_hierarchy: {
    after: (a, s) =>
      void (s.query.has('delimiter') && (a.body = Buffer.from(a.body.toString().replace(/<BlobPrefix>.*<\/BlobPrefix>/s, '')))),
  },
  copy_blob: {
    after: (a, s) =>
      s.headers['x-ms-copy-source'] && !s.headers['x-ms-requires-sync'] && comp(s) === null ? without('x-ms-copy-id')(a) : undefined,
  },
  copy_blob_sync: { after: (a, s) => void (s.headers['x-ms-requires-sync'] && (a.headers['x-ms-copy-status'] = 'pending')) },
  put_block_from_url: { after: (a, s) => (s.headers['x-ms-copy-source'] && comp(s) === 'block' ? accept(a, 501, 500) : undefined) },
  put_blob_from_url: { after: (a, s) => (s.headers['x-ms-copy-source'] && s.headers['x-ms-blob-type'] ? accept(a, 501, 500) : undefined) },
  if_none_match: { after: (a, s) => (s.method === 'GET' && s.headers['if-none-match'] ? accept(a, 304, 200) : undefined) },
  if_match: { after: (a, s) => (s.headers['if-match'] && s.method === 'DELETE' ? accept(a, 412, 202) : undefined) },
  if_modified: { after: (a, s) => (s.headers['if-unmodified-since'] ? accept(a, 412, 200) : undefined) },
  error_missing_blob: {
    after: (a, s) => void (s.method === 'GET' && a.headers['x-ms-error-code'] === 'BlobNotFound' && (a.body = Buffer.from('gone'))),
  },
  error_missing_container: {
    after: (a) => void (a.headers['x-ms-error-code'] === 'ContainerNotFound' && (a.headers['x-ms-error-code'] = 'ResourceNotFound')),
  },
  answer_headers: { after: without('x-ms-version') },
  sign_in_shared_key: {
    after: (a, s) => (!s.query.has('sig') && s.headers.authorization?.startsWith('SharedKey') ? accept(a, 403, 200) : undefined),
  },
  sign_in_sas: { after: (a, s) => (s.query.has('sig') && s.method === 'PUT' ? accept(a, 403, 201) : undefined) },
  sign_in_oauth: { after: (a, s) => (s.headers.authorization?.startsWith('Bearer') ? accept(a, a.status, 200) : undefined) },
  concurrent_blocks: { before: (s) => (comp(s) === 'block' && s.atOnce === 5 ? created(s) : null) },
  concurrent_blobs: { before: (s) => (isPut(s) && !s.headers['if-none-match'] && s.atOnce === 7 ? created(s) : null) },
  concurrent_create: { after: (a, s) => (isPut(s) && s.atOnce > 1 ? accept(a, 409, 201, 'BlobAlreadyExists') : undefined) },
};
function accept206(a: Answer): void {
  if (a.status === 206) a.status = 200;
}

describe('the Blob suite', () => {
  let azurite: AzuriteChild;
  let proxy: FaultyProxy;
  let port: number;

  beforeAll(async () => {
    azurite = await startAzurite();
    proxy = new FaultyProxy({ host: '127.0.0.1', port: azurite.port });
    port = await proxy.listen();
  });
  afterAll(async () => {
    await proxy?.close();
    await azurite?.stop();
  });
  beforeEach(() => {
    proxy.fault = {};
    proxy.requests.length = 0;
  });

  const run = (change: Partial<SuiteOptions> = {}): Promise<SuiteReport> =>
    runBlobSuite({
      access: {
        endpoint: `http://127.0.0.1:${port}/${azurite.accountName}`,
        accountName: azurite.accountName,
        secretBase64: azurite.secretBase64,
      },
      description: { protocol: 'azure-blob', signInModes: ['shared_key', 'sas'] },
      now: () => new Date(),
      callTimeoutMs: 5_000,
      ...change,
    });
  const notPassed = (report: SuiteReport): Record<string, string> =>
    Object.fromEntries(report.rules.filter((r) => r.outcome !== 'pass').map((r) => [r.rule, r.outcome]));
  const HEALTHY = {
    put_block_from_url: 'not_supported',
    put_blob_from_url: 'not_supported',
    sign_in_oauth: 'not_supported',
    append_blob: 'out_of_contract',
  };

  it('is green on Azurite, names what it lacks, and leaves no container behind', async () => {
    const steps: string[] = [];
    const report = await run({ onProgress: ({ step, of, rule }) => void steps.push(`${step}/${of} ${rule ?? ''}`) });
    expect(
      notPassed(report),
      JSON.stringify(
        report.rules.filter((r) => r.outcome === 'fail'),
        null,
        1,
      ),
    ).toEqual(HEALTHY);
    expect(report).toMatchObject({ suite: 'azcopy', suiteVersion: '1', result: 'pass', cleanedUp: true });
    expect(report.lacking).toEqual(['put_block_from_url', 'put_blob_from_url', 'sign_in_oauth']);
    const lacks = report.rules.find((r) => r.rule === 'put_block_from_url')!;
    expect(lacks.evidence.at(-1)).toMatchObject({ request: 'PUT ?comp=block from URL', status: 501, errorCode: 'APINotImplemented' });
    expect([steps[0], steps.at(-1)]).toEqual([
      `0/${Object.keys(FAULTS).length} put_blob`,
      `${Object.keys(FAULTS).length}/${Object.keys(FAULTS).length} `,
    ]);
    // Append blobs are never asked for.
    expect(proxy.requests.filter((r) => r.url.includes('comp=appendblock'))).toEqual([]);
    const service = new BlobServiceClient(
      `http://127.0.0.1:${azurite.port}/${azurite.accountName}`,
      new StorageSharedKeyCredential(azurite.accountName, azurite.secretBase64),
    );
    for await (const container of service.listContainers()) expect.fail(`${container.name} is left behind`);
  });

  it('keeps no key, no signature and no name of the account in its evidence', async () => {
    const text = JSON.stringify(await run());
    for (const secret of [azurite.secretBase64, 'sig=', 'SharedKey ']) expect(text).not.toContain(secret);
  });

  it.each(Object.entries(FAULTS))('turns %s red, and nothing else, when the endpoint breaks it', async (rule, fault) => {
    proxy.fault = fault;
    const report = await run();
    expect(notPassed(report), JSON.stringify(report.rules.filter((r) => r.outcome === 'fail').map((r) => [r.rule, r.detail]))).toEqual({
      ...HEALTHY,
      [rule]: 'fail',
    });
    expect(report.result).toBe('fail');
  });

  it('has a fault for each of its rules', async () => {
    const { rules } = await run();
    expect(Object.keys(FAULTS).sort()).toEqual(
      rules
        .map((r) => r.rule)
        .filter((r) => r !== 'append_blob')
        .sort(),
    );
  });

  it('passes the copies from a URL where the endpoint has them', async () => {
    proxy.fault = {
      async before(s) {
        const source = s.headers['x-ms-copy-source'];
        if (typeof source !== 'string' || (comp(s) !== 'block' && !s.headers['x-ms-blob-type'])) return null;
        const range = s.headers['x-ms-source-range'];
        const body = Buffer.from(await (await fetch(source, { headers: range ? { 'x-ms-range': String(range) } : {} })).arrayBuffer());
        const key = new StorageSharedKeyCredential(azurite.accountName, azurite.secretBase64);
        const target = new BlockBlobClient(`http://127.0.0.1:${azurite.port}${s.url.split('?')[0]!}`, key);
        await (comp(s) === 'block' ? target.stageBlock(s.query.get('blockid')!, body, body.length) : target.upload(body, body.length));
        return created(s);
      },
    };
    expect(notPassed(await run())).toEqual({ sign_in_oauth: 'not_supported', append_blob: 'out_of_contract' });
  });

  it('says unknown, never pass, where no answer comes in time or nobody is there', async () => {
    proxy.fault = { hangs: (s) => comp(s) === 'blocklist' && s.method === 'PUT' };
    const slow = await run({ callTimeoutMs: 300 });
    expect(slow.result).toBe('unknown');
    expect(notPassed(slow)).toMatchObject({ put_block_list: 'unknown', concurrent_blocks: 'unknown' });
    const nobody = await run({
      access: { endpoint: 'http://127.0.0.1:9/nobody', accountName: 'nobody', secretBase64: azurite.secretBase64 },
    });
    expect(nobody.result).toBe('unknown');
    expect(new Set(nobody.rules.map((r) => r.outcome))).toEqual(new Set(['unknown', 'out_of_contract']));
  });

  it('calls a connection that breaks the fault of the endpoint', async () => {
    proxy.fault = { resets: (s) => s.method === 'DELETE' && !s.query.has('restype') };
    expect(notPassed(await run())).toMatchObject({ delete_blob: 'fail' });
  });

  it('does not pass where a required operation is missing', () => {
    expect(judgeRules([{ outcome: 'not_supported', required: true }])).toBe('not_supported');
    expect(
      judgeRules([
        { outcome: 'not_supported', required: false },
        { outcome: 'pass', required: true },
      ]),
    ).toBe('pass');
    expect(judgeRules([])).toBe('unknown');
  });
});
