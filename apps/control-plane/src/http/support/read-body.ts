import { isUtf8 } from 'node:buffer';
import { gunzip } from 'node:zlib';
import { promisify } from 'node:util';
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ProblemError } from '#platform';
import { isUsagePost, MAX_USAGE_BYTES } from '../usage/usage-door.js';

const inflate = promisify(gunzip);
const MAX_INFLATED = 20 * 1024 * 1024;

export type RawRequest = FastifyRequest & { rawBody?: Buffer };

export function readBodies(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  // Webhooks keep their bytes: a signature or a stored original must not depend on our reading of them.
  fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (request: RawRequest, body: Buffer, done) => {
    request.rawBody = body;
    if (request.url.startsWith('/webhooks/')) return done(null, undefined);
    const most = isUsagePost(request) ? MAX_USAGE_BYTES : MAX_INFLATED;
    const encoding = request.headers['content-encoding']?.toLowerCase();
    const answer = (bytes: Buffer): void => {
      let value: unknown;
      try {
        value = readBody(request, bytes, most);
      } catch (error) {
        return done(error as Error);
      }
      done(null, value);
    };
    if (encoding === undefined || encoding === 'identity') answer(body);
    else unpacked(body, encoding, most).then(answer, (error: Error) => done(error));
  });
}

/** The body as its content type says: JSON, form fields or text. Throws stable codes. */
function readBody(request: RawRequest, bytes: Buffer, most: number): unknown {
  if (bytes.length > most) throw tooLarge(most);
  const type = mediaType(request);
  if (type === 'application/x-www-form-urlencoded') return Object.fromEntries(new URLSearchParams(bytes.toString('utf8')));
  if (type !== 'application/json' && !type.endsWith('+json')) return bytes.toString('utf8');
  // Each usage event is answered by itself: one that is odd must not refuse its neighbours.
  return isUsagePost(request) ? readJson(bytes) : readJson(bytes, refuseHalves);
}

/** Half of a surrogate pair: no text. The database refuses it inside JSON and would keep another character in its place elsewhere. */
const HALF = /\p{Cs}/u;
const ESCAPED_HALF = /\\u[dD][89a-fA-F]/;

function refuseHalves(key: string, value: unknown): unknown {
  if (HALF.test(key) || (typeof value === 'string' && HALF.test(value))) throw unstorableText();
  return value;
}

export const unstorableText = (): ProblemError =>
  new ProblemError('validation', 'request.invalid_text', 'The request contains a character that cannot be stored.');

/** Nothing for an empty body. Throws `request.malformed_json`, and what `check` throws for a key or value that may hold half a character. */
export function readJson(bytes: Buffer, check?: (key: string, value: unknown) => unknown): unknown {
  // Bytes that are no UTF-8 would be read as replacement characters, and two different ids as one.
  if (!isUtf8(bytes)) throw new ProblemError('validation', 'request.malformed_json', 'The body is not valid JSON: it is not UTF-8.');
  const text = bytes.toString('utf8');
  if (text.trim() === '') return undefined;
  try {
    // UTF-8 holds no halves: only an escape can bring one.
    return JSON.parse(text, check && ESCAPED_HALF.test(text) ? check : undefined) as unknown;
  } catch (error) {
    if (error instanceof ProblemError) throw error;
    throw new ProblemError('validation', 'request.malformed_json', 'The body is not valid JSON.');
  }
}

/** `application/json` of `Application/JSON; charset=utf-8`. */
export const mediaType = (request: { headers: IncomingHttpHeaders }): string =>
  (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();

const tooLarge = (most: number): ProblemError =>
  new ProblemError('too_large', 'request.too_large', `The body is larger than the ${most} bytes that this route takes, unpacked.`);

/** Stops as soon as more than `most` bytes have come out: a bomb never unfolds. */
async function unpacked(body: Buffer, encoding: string, most: number): Promise<Buffer> {
  if (encoding !== 'gzip')
    throw new ProblemError('unsupported_media', 'request.encoding_unsupported', 'Content-Encoding may be gzip or absent.');
  try {
    return await inflate(body, { maxOutputLength: most });
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(most);
    throw new ProblemError('validation', 'request.encoding_broken', 'The body is not whole gzip data.');
  }
}
