import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { StorageSharedKeyCredential, BlobSASPermissions, generateBlobSASQueryParameters } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadBlobSuite, type DesiredPlacement } from '#provisioning/core';
import { aCall, aPlacement, outputOf } from '#provisioning/core/testing';
import { eventually, LocalHarness, refusalOf } from './testing/local-harness.js';

const MIB = 1024 * 1024;

describe('the data path of a cell', () => {
  const ref = 'datapath';
  const a = aPlacement();
  const b = aPlacement();
  let h: LocalHarness;
  let all: DesiredPlacement[] = [a, b];
  const change = (p: DesiredPlacement): Promise<unknown> => {
    all = all.map((x) => (x.placementId === p.placementId ? p : x));
    return h.configure(ref, all);
  };
  const delta = async (id: string, work: () => Promise<unknown>) => {
    const before = await h.counters(ref, id);
    await work();
    const after = await h.counters(ref, id);
    return { in: after.in - before.in, out: after.out - before.out, requests: after.requests - before.requests };
  };

  beforeAll(async () => {
    h = new LocalHarness();
    await h.cell(ref, all);
    await h.container(ref, a).create();
    await h.container(ref, b).create();
  });
  afterAll(() => h.dispose());

  it('counts the bytes of bodies and the requests exactly', async () => {
    const content = randomBytes(3 * MIB + 17);
    const blob = h.container(ref, a).getBlockBlobClient('exact');
    expect(await delta(a.placementId, () => blob.uploadData(content, { maxSingleShotSize: 64 * MIB }))).toEqual({
      in: content.length,
      out: 0,
      requests: 1,
    });
    expect(await delta(a.placementId, () => blob.download().then((r) => drain(r.readableStreamBody!)))).toEqual({
      in: 0,
      out: content.length,
      requests: 1,
    });
    expect((await h.counters(ref, a.placementId)).stored).toBe(content.length);
  });

  it('passes the Blob suite, says what it lacks, and nobody is charged for it', async () => {
    const before = [await h.counters(ref, a.placementId), await h.counters(ref, b.placementId)];
    const access = await outputOf(() => h.driver.openProbe(aCall(ref), { lifeMs: 60_000 }));
    const suite = await loadBlobSuite();
    const { signInModes } = h.driver.capabilities();
    const report = await suite({ access, description: { protocol: 'azure-blob', signInModes }, now: () => new Date() });
    await outputOf(() => h.driver.closeProbe(aCall(ref), { accountName: access.accountName }));
    expect(report.rules.filter((r) => r.outcome === 'fail').map((r) => [r.rule, r.detail])).toEqual([]);
    expect(report).toMatchObject({
      result: 'pass',
      lacking: ['put_block_from_url', 'put_blob_from_url', 'sign_in_oauth'],
      cleanedUp: true,
    });
    expect([await h.counters(ref, a.placementId), await h.counters(ref, b.placementId)]).toEqual(before);
  });

  it('counts a ranged read by its range, and a HEAD as a request without bytes', async () => {
    const blob = h.container(ref, a).getBlockBlobClient('exact');
    expect(await delta(a.placementId, () => blob.downloadToBuffer(1000, 54_321))).toEqual({ in: 0, out: 54_321, requests: 1 });
    expect(await delta(a.placementId, () => blob.getProperties())).toEqual({ in: 0, out: 0, requests: 1 });
  });

  it('counts of a broken-off download what was sent, not what was asked for', async () => {
    const size = 48 * MIB;
    const blob = h.container(ref, a).getBlockBlobClient('large');
    await blob.uploadData(randomBytes(size), { maxSingleShotSize: 64 * MIB });
    const before = await h.counters(ref, a.placementId);
    const received = await readThenBreak(await sasUrl(h, ref, a, 'large'), 5 * MIB);
    const after = await eventually(
      () => h.counters(ref, a.placementId),
      (c) => c.requests === before.requests + 1,
    );
    const sent = after.out - before.out;
    // Between: what the kernels of both ends held.
    expect(sent).toBeGreaterThanOrEqual(received);
    expect(sent).toBeLessThan(size / 2);
    await blob.delete();
  });

  it('counts of a broken-off upload what came in, stores nothing, and serves on', async () => {
    const before = await h.counters(ref, a.placementId);
    await sendThenBreak(await sasUrl(h, ref, a, 'broken', 'cw'), 20 * MIB, 2 * MIB);
    const after = await eventually(
      () => h.counters(ref, a.placementId),
      (c) => c.requests === before.requests + 1,
    );
    // The last piece may lie unread in a buffer when the connection ends.
    expect(after.in - before.in).toBeLessThanOrEqual(2 * MIB);
    expect(after.in - before.in).toBeGreaterThan(2 * MIB - 128 * 1024);
    expect(after.stored).toBe(before.stored);
    expect(await h.container(ref, a).getBlockBlobClient('broken').exists()).toBe(false);
  });

  it('refuses a foreign key with 403 and counts nothing', async () => {
    const foreign = h.service(ref, a, b.keys[0]!.secretBase64).getContainerClient('data');
    const moved = await delta(a.placementId, async () => {
      expect(await refusalOf(foreign.getBlockBlobClient('exact').downloadToBuffer())).toMatchObject({ status: 403 });
      expect(await refusalOf(foreign.getBlockBlobClient('x').uploadData(randomBytes(MIB)))).toMatchObject({ status: 403 });
    });
    expect(moved).toEqual({ in: 0, out: 0, requests: 0 });
  });

  it('opens to nobody with the credentials that its storage comes with, nor with those of its own inside', async () => {
    // Azurite's well-known development account, as its documentation prints it.
    const wellKnown = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';
    for (const accountName of ['devstoreaccount1', 'berthinternal'])
      expect(await refusalOf(h.service(ref, { ...a, accountName }, wellKnown).getProperties())).toMatchObject({ status: 404 });
    expect(await refusalOf(h.service(ref, a, wellKnown).getProperties())).toMatchObject({ status: 403 });
  });

  it('refuses to copy from another account, also by a host name of the client', async () => {
    const port = h.file(ref).gatewayPort;
    const source = `http://127.0.0.1:${port}/${a.accountName}/data/exact`;
    const target = h.container(ref, b).getBlockBlobClient('stolen');
    for (const from of [
      source,
      source.replace('127.0.0.1', 'elsewhere.example'),
      `http://127.0.0.1:${port}/${b.accountName}/%2e%2e/${a.accountName}/data/exact`,
    ])
      expect(await refusalOf(target.beginCopyFromURL(from))).toMatchObject({ status: 403, code: 'CannotVerifyCopySource' });
    const own = h.container(ref, a).getBlockBlobClient('copy');
    await (await own.beginCopyFromURL(source)).pollUntilDone();
    expect((await own.getProperties()).contentLength).toBe(3 * MIB + 17);
  });

  it('answers a name it does not have with 404 and a path that is none with 400', async () => {
    expect(await refusalOf(h.service(ref, { ...a, accountName: 'nobodyhere' }).getProperties())).toMatchObject({ status: 404 });
    const base = `http://127.0.0.1:${h.file(ref).gatewayPort}`;
    for (const path of [`/${a.accountName}%2Fdata`, `/${a.accountName}-secondary/data`, '//data'])
      expect((await fetch(base + path)).status).toBe(400);
  });

  it('takes the old and the new key while both are given, and then only the new one', async () => {
    const next = { id: 'k2', secretBase64: randomBytes(64).toString('base64') };
    const [old] = a.keys;
    await change({ ...a, keys: [old!, next] });
    await h.service(ref, a, old!.secretBase64).getProperties();
    await h.service(ref, a, next.secretBase64).getProperties();
    await change({ ...a, keys: [next] });
    await h.service(ref, a, next.secretBase64).getProperties();
    expect(await refusalOf(h.service(ref, a, old!.secretBase64).getProperties())).toMatchObject({ status: 403 });
    await change(a);
  });

  it('answers a suspended account with 403 AccountIsDisabled, breaks off what is on its way, and leaves its neighbour alone', async () => {
    await h
      .container(ref, a)
      .getBlockBlobClient('long')
      .uploadData(randomBytes(32 * MIB), { maxSingleShotSize: 64 * MIB });
    const url = await sasUrl(h, ref, a, 'long');
    const download = await begin(url);
    const call = aCall(ref);
    const { lastSample } = await outputOf(() => h.driver.suspend(call, { placementId: a.placementId, kind: 'access' }));
    expect(lastSample).toMatchObject({ placementId: a.placementId, acknowledged: false });
    expect(await download.rest()).toBeLessThan(32 * MIB);
    const at = await h.counters(ref, a.placementId);
    expect(await refusalOf(h.container(ref, a).getProperties())).toEqual({ status: 403, code: 'AccountIsDisabled' });
    expect((await fetch(url)).status).toBe(403);
    expect(await h.counters(ref, a.placementId)).toEqual(at);
    await h.container(ref, b).getProperties();
    const again = aCall(ref);
    await outputOf(() => h.driver.resume(again, { placementId: a.placementId }));
    await h.container(ref, a).getProperties();
  });

  it('lets many writers at once not pass the hard quota, and lets reads and deletions through', async () => {
    const hard = 10 * MIB;
    await change({ ...b, limits: { hardQuotaBytes: String(hard) } });
    const container = h.container(ref, b);
    const outcomes = await Promise.all(
      Array.from({ length: 24 }, (_, i) =>
        container
          .getBlockBlobClient(`q${i}`)
          .uploadData(randomBytes(MIB))
          .then(
            () => 'ok',
            (e: { statusCode?: number; code?: string }) => `${e.statusCode} ${e.code}`,
          ),
      ),
    );
    expect(outcomes.filter((o) => o === 'ok')).toHaveLength(10);
    expect(new Set(outcomes)).toEqual(new Set(['ok', '409 QuotaExceeded']));
    expect((await h.counters(ref, b.placementId)).stored).toBe(hard);
    const kept = outcomes.findIndex((o) => o === 'ok');
    await container.getBlockBlobClient(`q${kept}`).downloadToBuffer();
    expect(await refusalOf(container.getBlockBlobClient('more').uploadData(randomBytes(1)))).toMatchObject({
      status: 409,
      code: 'QuotaExceeded',
    });
    expect(
      await refusalOf(container.getBlockBlobClient('more').stageBlock(Buffer.from('1').toString('base64'), randomBytes(1), 1)),
    ).toMatchObject({ status: 409 });
    await container.getBlockBlobClient(`q${kept}`).delete();
    await container.getBlockBlobClient('more').uploadData(randomBytes(MIB));
    // Uncommitted blocks take room too.
    await container.getBlockBlobClient('more').delete();
    await container.getBlockBlobClient('staged').stageBlock(Buffer.from('1').toString('base64'), randomBytes(MIB), MIB);
    expect((await h.counters(ref, b.placementId)).stored).toBe(hard);
    expect(await refusalOf(container.getPageBlobClient('page').create(512))).toMatchObject({ status: 409 });
  });

  it('tells a stranger without a key nothing of the quota: 403, also when the account is full', async () => {
    await change({ ...b, limits: { hardQuotaBytes: '1' } });
    const write = (secretBase64: string): Promise<unknown> =>
      h.service(ref, b, secretBase64).getContainerClient('data').getBlockBlobClient('room').uploadData(randomBytes(MIB));
    expect(await refusalOf(write(b.keys[0]!.secretBase64))).toMatchObject({ status: 409 });
    expect(await refusalOf(write(a.keys[0]!.secretBase64))).toMatchObject({ status: 403 });
  });
});

async function drain(stream: NodeJS.ReadableStream): Promise<number> {
  let size = 0;
  for await (const chunk of stream) size += (chunk as Buffer).length;
  return size;
}

async function sasUrl(h: LocalHarness, ref: string, p: DesiredPlacement, name: string, permissions = 'r'): Promise<string> {
  const sas = generateBlobSASQueryParameters(
    {
      containerName: 'data',
      blobName: name,
      permissions: BlobSASPermissions.parse(permissions),
      expiresOn: new Date(Date.now() + 600_000),
    },
    new StorageSharedKeyCredential(p.accountName, p.keys[0]!.secretBase64),
  );
  return `http://127.0.0.1:${h.file(ref).gatewayPort}/${p.accountName}/data/${name}?${sas.toString()}`;
}

function readThenBreak(url: string, bytes: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let size = 0;
    const r = request(url, (response) => {
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size < bytes) return;
        response.destroy();
        resolve(size);
      });
    });
    r.on('error', reject);
    r.end();
  });
}

function sendThenBreak(url: string, length: number, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    const r = request(url, {
      method: 'PUT',
      headers: { 'content-length': length, 'x-ms-blob-type': 'BlockBlob', 'x-ms-version': '2024-11-04' },
    });
    r.on('error', () => resolve());
    r.on('close', () => resolve());
    // What the kernel has taken is delivered before the end of the connection is.
    r.write(Buffer.alloc(bytes), () => setImmediate(() => r.socket?.end()));
  });
}

/** Begins a download and reads on only when told; `rest` is how much came until the end. */
function begin(url: string): Promise<{ rest: () => Promise<number> }> {
  return new Promise((resolve, reject) => {
    const r = request(url, (response) => {
      let size = 0;
      const ended = new Promise<number>((done) => {
        response.on('close', () => done(size));
        response.on('error', () => done(size));
      });
      response.pause();
      resolve({
        rest: () => {
          response.on('data', (chunk: Buffer) => (size += chunk.length));
          response.resume();
          return ended;
        },
      });
    });
    r.on('error', reject);
    r.end();
  });
}
