/** Blocks and listings. */
import { md5Of, someBytes, type Rule, type RuleBench } from './rule.js';

export const blockId = (n: number): string => Buffer.from(`block-${String(n).padStart(6, '0')}`).toString('base64');

export const BLOCK_RULES: readonly Rule[] = [
  {
    name: 'put_block',
    asks: 'Put Block stages blocks that are in the uncommitted list with their sizes and in no blob; a block is replaced under its id.',
    required: true,
    async run(at) {
      const blob = at.blob('a');
      const staged = await blob.stageBlock(blockId(1), someBytes(100), 100);
      at.expect(staged._response.status === 201, `Put Block was answered ${staged._response.status}, not 201`);
      await blob.stageBlock(blockId(2), someBytes(200), 200);
      await blob.stageBlock(blockId(1), someBytes(150), 150);
      const list = await blob.getBlockList('uncommitted');
      const sizes = (list.uncommittedBlocks ?? []).map((b) => `${b.name}:${b.size}`).sort();
      const wanted = [`${blockId(1)}:150`, `${blockId(2)}:200`].sort();
      at.expect(sizes.join() === wanted.join(), `the uncommitted list holds ${sizes.length} blocks of other ids or sizes`);
      await at.refused('reading a blob of staged blocks alone', () => at.read(blob), { status: 404 });
    },
  },
  {
    name: 'put_block_md5',
    asks: 'Put Block whose Content-MD5 is not that of the body is refused with 400 and not staged.',
    required: true,
    async run(at) {
      const body = someBytes(500);
      const wrong = { transactionalContentMD5: md5Of(Buffer.from('another')) };
      const blob = at.blob('a');
      await blob.stageBlock(blockId(1), body, body.length, { transactionalContentMD5: md5Of(body) });
      await at.refused('a block with a wrong Content-MD5', () => blob.stageBlock(blockId(2), body, body.length, wrong), { status: 400 });
      const { uncommittedBlocks = [] } = await blob.getBlockList('uncommitted');
      at.expect(!uncommittedBlocks.some((b) => b.name === blockId(2)), 'the refused block is staged');
    },
  },
  {
    name: 'put_block_list',
    asks: 'Put Block List commits the named blocks in its order and drops the others; an unknown id is 400 InvalidBlockList.',
    required: true,
    async run(at) {
      const blob = at.blob('a');
      const parts = [1, 2, 3].map((n) => ({ id: blockId(n), body: someBytes(1_000 * n) }));
      await at.prepare(async () => {
        for (const { id, body } of parts) await blob.stageBlock(id, body, body.length);
      });
      const [first, second] = [parts[0]!, parts[1]!];
      const done = await blob.commitBlockList([second.id, first.id], {
        metadata: { origin: 'probe' },
        blobHTTPHeaders: { blobContentType: 'application/x-probe' },
      });
      at.expect(done._response.status === 201 && Boolean(done.etag), `Put Block List was answered ${done._response.status}`);
      at.expect((await at.read(blob)).equals(Buffer.concat([second.body, first.body])), 'the blob is not the listed blocks in their order');
      const { committedBlocks = [] } = await blob.getBlockList('committed');
      at.expect(committedBlocks.map((b) => b.name).join() === [second.id, first.id].join(), 'the committed list is another one');
      await at.refused('a block list with an unknown id', () => blob.commitBlockList([blockId(99)]), {
        status: 400,
        code: 'InvalidBlockList',
      });
    },
  },
  {
    name: 'list_flat',
    asks: 'List Blobs gives each name once, in order, with its length, over pages joined by a marker, and only those with the prefix.',
    required: true,
    async run(at) {
      const names = await manyNames(at, ['page/b', 'page/a', 'page/d', 'page/c', 'page/e', 'other/z']);
      const wanted = names.filter((n) => n.includes('/page/')).sort();
      const seen: string[] = [];
      let pages = 0;
      const prefix = wanted[0]!.slice(0, wanted[0]!.indexOf('page/') + 5);
      for await (const page of at.container.listBlobsFlat({ prefix }).byPage({ maxPageSize: 2 })) {
        pages += 1;
        at.expect(pages <= 10, 'the pages do not end');
        for (const item of page.segment.blobItems) {
          seen.push(item.name);
          at.expect(item.properties.contentLength === 7, `the length of ${item.name.split('/').at(-1)!} is not told`);
          at.expect(Boolean(item.properties.etag && item.properties.lastModified), 'ETag or Last-Modified is missing in the list');
        }
      }
      at.expect(seen.join() === wanted.join(), `${seen.length} names came, or in another order, instead of ${wanted.length}`);
      at.expect(pages >= 3, `five names in pages of two came in ${pages} pages`);
    },
  },
  {
    name: 'list_hierarchy',
    asks: 'List Blobs with a delimiter gives what lies at this level, and the folders below it as prefixes.',
    required: true,
    async run(at) {
      const names = await manyNames(at, ['tree/one', 'tree/sub/two', 'tree/sub/three', 'tree/sub2/four']);
      const prefix = names[0]!.slice(0, names[0]!.indexOf('tree/') + 5);
      const blobs: string[] = [];
      const folders: string[] = [];
      for await (const page of at.container.listBlobsByHierarchy('/', { prefix }).byPage({ maxPageSize: 100 })) {
        blobs.push(...page.segment.blobItems.map((b) => b.name));
        folders.push(...(page.segment.blobPrefixes ?? []).map((p) => p.name));
      }
      at.expect(blobs.join() === `${prefix}one`, `at this level ${blobs.length} blobs were listed, not one`);
      at.expect(folders.join() === `${prefix}sub/,${prefix}sub2/`, `${folders.length} folders were listed, not two`);
    },
  },
];

/** Blobs of seven bytes; answers their full names. */
async function manyNames(at: RuleBench, names: readonly string[]): Promise<string[]> {
  const blobs = await Promise.all(names.map((name) => at.given(name, Buffer.from('content'))));
  return blobs.map((b) => b.name);
}
