/** Whole blobs: put, get, ranges, head, delete. */
import { md5Of, someBytes, type Rule } from './rule.js';

export const OBJECT_RULES: readonly Rule[] = [
  {
    name: 'put_blob',
    asks: 'Put Blob stores bytes, content headers and metadata, and answers 201 with ETag, Last-Modified and a new ETag for new content.',
    required: true,
    async run(at) {
      const [body, later] = [someBytes(3_000), someBytes(10)];
      const blob = at.blob('a');
      const first = await blob.upload(body, body.length, {
        metadata: { origin: 'probe' },
        blobHTTPHeaders: { blobContentType: 'application/x-probe', blobContentMD5: md5Of(body) },
      });
      at.expect(first._response.status === 201, `Put Blob was answered ${first._response.status}, not 201`);
      at.expect(Boolean(first.etag && first.lastModified), 'Put Blob was answered without ETag or Last-Modified');
      at.expect((await at.read(blob)).equals(body), 'what was read is not what was put');
      const second = await blob.upload(later, later.length);
      at.expect(second.etag !== first.etag, 'new content kept its ETag');
      at.expect((await at.read(blob)).equals(later), 'a second Put Blob did not replace the first');
    },
  },
  {
    name: 'get_blob',
    asks: 'Get Blob gives back all bytes with Content-Length, Content-Type, ETag and the MD5 that was stored with them.',
    required: true,
    async run(at) {
      const body = someBytes(70_000);
      const blob = at.blob('a');
      const blobHTTPHeaders = { blobContentType: 'application/x-probe', blobContentMD5: md5Of(body) };
      await at.prepare(() => blob.upload(body, body.length, { blobHTTPHeaders }));
      const answer = await blob.download(0, undefined, { maxRetryRequests: 0 });
      at.expect((await at.drain(answer.readableStreamBody!)).equals(body), 'what was read is not what was put');
      at.expect(answer.contentLength === body.length, `Content-Length is ${String(answer.contentLength)}, not ${body.length}`);
      at.expect(answer.contentType === 'application/x-probe', `Content-Type is ${String(answer.contentType)}`);
      at.expect(Boolean(answer.etag), 'there is no ETag');
      at.expect(sameBytes(answer.contentMD5, md5Of(body)), 'Content-MD5 is not the stored one');
    },
  },
  {
    name: 'get_range',
    asks: 'A ranged Get Blob answers 206 with Content-Range and exactly those bytes, to the end where the range is open, and 416 past it.',
    required: true,
    async run(at) {
      const body = someBytes(10_000);
      const blob = await at.given('a', body);
      const part = await blob.download(1_000, 500, { maxRetryRequests: 0 });
      const bytes = await at.drain(part.readableStreamBody!);
      at.expect(part._response.status === 206, `a range was answered ${part._response.status}, not 206`);
      at.expect(part.contentRange === 'bytes 1000-1499/10000', `Content-Range is ${String(part.contentRange)}`);
      at.expect(bytes.equals(body.subarray(1_000, 1_500)), 'other bytes than those of the range came');
      at.expect((await at.read(blob, 9_990)).equals(body.subarray(9_990)), 'an open range does not reach to the end');
      await at.refused('a range past the end', () => at.read(blob, 20_000, 10), { status: 416, code: 'InvalidRange' });
    },
  },
  {
    name: 'head_blob',
    asks: 'Get Blob Properties tells length, type, blob type, ETag, Last-Modified and metadata; a blob that is not there is 404 BlobNotFound.',
    required: true,
    async run(at) {
      const body = someBytes(321);
      const blob = at.blob('a');
      await at.prepare(() =>
        blob.upload(body, body.length, { metadata: { origin: 'probe' }, blobHTTPHeaders: { blobContentType: 'application/x-probe' } }),
      );
      const head = await blob.getProperties();
      at.expect(head.contentLength === body.length, `Content-Length is ${String(head.contentLength)}, not ${body.length}`);
      at.expect(head.contentType === 'application/x-probe', `Content-Type is ${String(head.contentType)}`);
      at.expect(head.blobType === 'BlockBlob', `x-ms-blob-type is ${String(head.blobType)}`);
      at.expect(Boolean(head.etag && head.lastModified), 'ETag or Last-Modified is missing');
      at.expect(head.metadata?.['origin'] === 'probe', 'the metadata is missing');
      await at.refused('the head of a blob that is not there', () => at.blob('absent').getProperties(), {
        status: 404,
        code: 'BlobNotFound',
      });
    },
  },
  {
    name: 'delete_blob',
    asks: 'Delete Blob answers 202, the blob is gone at once, and a second one is 404 BlobNotFound.',
    required: true,
    async run(at) {
      const blob = await at.given('a', someBytes(10));
      const gone = await blob.delete();
      at.expect(gone._response.status === 202, `Delete Blob was answered ${gone._response.status}, not 202`);
      at.expect(!(await blob.exists()), 'a deleted blob is still there');
      await at.refused('deleting it again', () => blob.delete(), { status: 404, code: 'BlobNotFound' });
    },
  },
];

const sameBytes = (a: Uint8Array | undefined, b: Buffer): boolean => a !== undefined && Buffer.from(a).equals(b);
