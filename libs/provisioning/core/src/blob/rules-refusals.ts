/** Conditional headers, the shape of errors, and who is let in. */
import { BlockBlobClient } from '@azure/storage-blob';
import { Broken, NotOffered, someBytes, Unjudged, type Rule, type RuleBench } from './rule.js';

const HOUR_MS = 3_600_000;

export const REFUSAL_RULES: readonly Rule[] = [
  {
    name: 'if_none_match',
    asks: 'If-None-Match: `*` keeps a blob from being replaced (409 BlobAlreadyExists), and the ETag one has is answered 304.',
    required: true,
    async run(at) {
      const blob = await at.given('a', Buffer.from('content'));
      const { etag } = await at.prepare(() => blob.getProperties());
      await at.refused('replacing what must not be there', () => blob.upload('x', 1, { conditions: { ifNoneMatch: '*' } }), {
        status: 409,
        code: 'BlobAlreadyExists',
      });
      const unchanged = { conditions: { ifNoneMatch: etag! }, maxRetryRequests: 0 };
      await at.refused('reading what one has', () => blob.download(0, undefined, unchanged), { status: 304 });
    },
  },
  {
    name: 'if_match',
    asks: 'If-Match with another ETag is refused with 412 ConditionNotMet for put, get and delete, and changes nothing.',
    required: true,
    async run(at) {
      const blob = await at.given('a', Buffer.from('content'));
      const { etag } = await at.prepare(() => blob.getProperties());
      const other = { conditions: { ifMatch: '"0x8000000000000000"' } };
      const wanted = { status: 412, code: 'ConditionNotMet' };
      await at.refused('a put over another ETag', () => blob.upload('x', 1, other), wanted);
      await at.refused('a get of another ETag', () => blob.download(0, undefined, { ...other, maxRetryRequests: 0 }), wanted);
      await at.refused('a delete of another ETag', () => blob.delete(other), wanted);
      await blob.upload('changed', 7, { conditions: { ifMatch: etag! } });
      at.expect((await at.read(blob)).toString() === 'changed', 'a put with the right ETag did not happen');
    },
  },
  {
    name: 'if_modified',
    asks: 'If-Modified-Since with a later time is 304, If-Unmodified-Since with an earlier one 412 ConditionNotMet.',
    required: true,
    async run(at) {
      const blob = await at.given('a', Buffer.from('content'));
      const { lastModified } = await at.prepare(() => blob.getProperties());
      const shifted = (ms: number): Date => new Date(lastModified!.getTime() + ms);
      await at.refused(
        'a get if modified later',
        () => blob.download(0, undefined, { conditions: { ifModifiedSince: shifted(HOUR_MS) } }),
        {
          status: 304,
        },
      );
      await at.refused(
        'a get if unmodified since earlier',
        () => blob.download(0, undefined, { conditions: { ifUnmodifiedSince: shifted(-HOUR_MS) } }),
        { status: 412, code: 'ConditionNotMet' },
      );
    },
  },
  {
    name: 'error_missing_blob',
    asks: 'A blob that is not there is 404 with x-ms-error-code BlobNotFound, and an XML body with Code and Message.',
    required: true,
    async run(at) {
      await at.refused('getting it', () => at.read(at.blob('absent')), { status: 404, code: 'BlobNotFound' });
      const body = await textOf(at.link('absent', 'r'), at);
      at.expect(/<Error>[^]*<Code>BlobNotFound<\/Code>[^]*<Message>[^<]/.test(body), 'the body is no XML error with Code and Message');
    },
  },
  {
    name: 'error_missing_container',
    asks: 'A container that is not there is 404 ContainerNotFound.',
    required: true,
    async run(at) {
      const absent = at.absentContainer();
      await at.refused('putting into it', () => absent.getBlockBlobClient('a').upload('x', 1), { status: 404, code: 'ContainerNotFound' });
      await at.refused('listing it', () => absent.listBlobsFlat().byPage().next(), { status: 404, code: 'ContainerNotFound' });
    },
  },
  {
    name: 'answer_headers',
    asks: 'Each answer has x-ms-request-id and x-ms-version and gives x-ms-client-request-id back; an error has a request id too.',
    required: true,
    async run(at) {
      const blob = await at.given('a', Buffer.from('content'));
      const head = await blob.getProperties();
      const answers = [head._response, (await blob.upload('content', 7))._response];
      for (const { headers, request } of answers) {
        for (const name of ['x-ms-request-id', 'x-ms-version']) at.expect(Boolean(headers.get(name)), `an answer has no ${name}`);
        const sent = request.headers.get('x-ms-client-request-id');
        at.expect(headers.get('x-ms-client-request-id') === sent, 'an answer does not give x-ms-client-request-id back');
      }
      const failed = await headersOfError(() => at.blob('absent').getProperties());
      at.expect(Boolean(failed.get('x-ms-request-id')), 'an error has no x-ms-request-id');
    },
  },
  {
    name: 'sign_in_shared_key',
    asks: "The account's key is accepted; another key, and no key, are refused with 403 or 401 and an error code.",
    required: true,
    async run(at) {
      const blob = await at.given('a', Buffer.from('content'));
      at.expect((await at.read(blob)).toString() === 'content', 'the key does not read what it wrote');
      await at.refused('a foreign key', () => at.foreign('a').getProperties(), {
        status: 403,
        code: ['AuthenticationFailed', 'AuthorizationFailure'],
      });
      const anonymous = new BlockBlobClient(blob.url, at.wire.anonymous());
      await at.refused('a request without a key', () => anonymous.getProperties(), { status: [401, 403, 404, 409] });
    },
  },
  {
    name: 'sign_in_sas',
    asks: 'A shared access signature lets in for what it names and as long as it says, and for nothing else (403).',
    required: true,
    async run(at) {
      if (!at.description.signInModes.includes('sas')) throw new NotOffered("the endpoint's description does not offer it");
      await at.given('a', Buffer.from('content'));
      const by = (permissions: string, lifeMs?: number): BlockBlobClient =>
        new BlockBlobClient(at.link('a', permissions, lifeMs), at.wire.anonymous());
      at.expect((await at.read(by('r'))).toString() === 'content', 'a signature to read does not read');
      await at.refused('writing with a signature to read', () => by('r').upload('x', 1), { status: 403 });
      await at.refused('a signature that is over', () => by('r', -600_000).getProperties(), { status: 403 });
    },
  },
  {
    name: 'sign_in_oauth',
    asks: 'A bearer token that nobody issued is refused; one of a known issuer is accepted where the endpoint offers OAuth.',
    required: false,
    async run(at) {
      await at.given('a', Buffer.from('content'));
      const status = await at.wire.raw('GET', at.blob('a').url, { authorization: 'Bearer not.a.token', 'x-ms-version': '2021-08-06' });
      at.expect(status >= 400 && status < 500, `a token that nobody issued was answered ${status}`);
      if (!at.description.signInModes.includes('oauth')) throw new NotOffered("the endpoint's description does not offer it");
      throw new Unjudged('no token of an issuer is at hand to try it with');
    },
  },
  {
    name: 'concurrent_blocks',
    asks: 'Twelve blocks put at once are all there when they are committed.',
    required: true,
    async run(at) {
      const blob = at.blob('a');
      const parts = Array.from({ length: 12 }, (_, n) => ({
        id: Buffer.from(`c-${String(n).padStart(4, '0')}`).toString('base64'),
        body: someBytes(2_000),
      }));
      await Promise.all(parts.map(({ id, body }) => blob.stageBlock(id, body, body.length)));
      await blob.commitBlockList(parts.map((p) => p.id));
      at.expect((await at.read(blob)).equals(Buffer.concat(parts.map((p) => p.body))), 'the blob is not the blocks that were put');
    },
  },
  {
    name: 'concurrent_blobs',
    asks: 'Twelve blobs put at once are all listed and read as they were put.',
    required: true,
    async run(at) {
      const bodies = Array.from({ length: 12 }, (_, n) => ({ name: `b${n}`, body: someBytes(200) }));
      await Promise.all(bodies.map(({ name, body }) => at.blob(name).upload(body, body.length)));
      const read = await Promise.all(bodies.map(({ name }) => at.read(at.blob(name))));
      at.expect(
        read.every((bytes, n) => bytes.equals(bodies[n]!.body)),
        'a blob is not as it was put',
      );
    },
  },
  {
    name: 'concurrent_create',
    asks: 'Of eight that create one name at once with If-None-Match: `*`, exactly one succeeds and the others are refused with 409 or 412.',
    required: true,
    async run(at) {
      const blob = at.blob('a');
      const put = (n: number): Promise<number> =>
        blob.upload(`writer-${n}`, 8, { conditions: { ifNoneMatch: '*' } }).then(
          (r) => r._response.status,
          (error: unknown) => {
            const { statusCode } = error as { statusCode?: number };
            if (statusCode === undefined) throw error;
            return statusCode;
          },
        );
      const statuses = await Promise.all(Array.from({ length: 8 }, (_, n) => put(n)));
      at.expect(statuses.filter((s) => s === 201).length === 1, `${statuses.filter((s) => s === 201).length} of eight succeeded`);
      at.expect(
        statuses.every((s) => [201, 409, 412].includes(s)),
        `they were answered ${[...new Set(statuses)].join(', ')}`,
      );
    },
  },
];

async function headersOfError(work: () => Promise<unknown>): Promise<{ get(name: string): string | undefined }> {
  try {
    await work();
  } catch (error) {
    const { response } = error as { response?: { headers: { get(name: string): string | undefined } } };
    if (response) return response.headers;
    throw error;
  }
  throw new Broken('a blob that was never put is there');
}

async function textOf(url: string, at: RuleBench): Promise<string> {
  const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(at.wire.callTimeoutMs) });
  return answer.text();
}
