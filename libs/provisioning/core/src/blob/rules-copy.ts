/** Copies from a URL: the asynchronous and the synchronous one, and the two by which services copy in parts. */
import { someBytes, type Rule } from './rule.js';
import { blockId } from './rules-blocks.js';

export const COPY_RULES: readonly Rule[] = [
  {
    name: 'copy_blob',
    asks: 'Copy Blob from a URL answers 202 with a copy id and ends with status success and the same bytes.',
    required: true,
    async run(at) {
      const body = someBytes(50_000);
      await at.given('source', body);
      const target = at.blob('target');
      const poller = await target.beginCopyFromURL(at.link('source', 'r'), { intervalInMs: 50 });
      const { copyId } = poller.getOperationState() as { copyId?: string };
      at.expect(Boolean(copyId), 'Copy Blob was answered without x-ms-copy-id');
      const until = performance.now() + at.wire.callTimeoutMs;
      while (!poller.isDone() && performance.now() < until) {
        await poller.poll();
        if (!poller.isDone()) await new Promise((done) => setTimeout(done, 50));
      }
      at.expect(poller.isDone(), 'the copy did not end in time');
      const { copyStatus } = await target.getProperties();
      at.expect(copyStatus === 'success', `x-ms-copy-status is ${String(copyStatus)}`);
      at.expect((await at.read(target)).equals(body), 'the copy is not the source');
    },
  },
  {
    name: 'copy_blob_sync',
    asks: 'Copy Blob From URL (synchronous) answers 202 with status success, and the bytes are there at once.',
    required: true,
    async run(at) {
      const body = someBytes(40_000);
      await at.given('source', body);
      const done = await at.blob('target').syncCopyFromURL(at.link('source', 'r'));
      at.expect(done._response.status === 202, `it was answered ${done._response.status}, not 202`);
      // Not `copyStatus`: the SDK has it for a constant.
      const status = done._response.headers.get('x-ms-copy-status');
      at.expect(status === 'success', `x-ms-copy-status is ${String(status)}`);
      at.expect((await at.read(at.blob('target'))).equals(body), 'the copy is not the source');
    },
  },
  {
    name: 'put_block_from_url',
    asks: 'Put Block From URL stages a range of another blob as a block: how AzCopy copies large blobs between services.',
    required: false,
    async run(at) {
      const body = someBytes(30_000);
      await at.given('source', body);
      const target = at.blob('target');
      const link = at.link('source', 'r');
      await target.stageBlockFromURL(blockId(1), link, 0, 20_000);
      await target.stageBlockFromURL(blockId(2), link, 20_000, 10_000);
      await target.commitBlockList([blockId(1), blockId(2)]);
      at.expect((await at.read(target)).equals(body), 'the joined blocks are not the source');
    },
  },
  {
    name: 'put_blob_from_url',
    asks: 'Put Blob From URL makes a blob of another one in a single call: how AzCopy copies small blobs between services.',
    required: false,
    async run(at) {
      const body = someBytes(9_000);
      await at.given('source', body);
      await at.blob('target').syncUploadFromURL(at.link('source', 'r'));
      at.expect((await at.read(at.blob('target'))).equals(body), 'the new blob is not the source');
    },
  },
];
