/** The real SDK with a note of each request and answer, one try, and a time-out for each call. */
import {
  AnonymousCredential,
  BaseRequestPolicy,
  newPipeline,
  StorageRetryPolicyType,
  type Pipeline,
  type RequestPolicy,
  type RequestPolicyOptions,
  type StorageSharedKeyCredential,
} from '@azure/storage-blob';
import type { WireEvidence } from './report.js';

/** Of an answer, those that a client acts on. */
const NOTED = [
  'accept-ranges',
  'content-length',
  'content-range',
  'content-type',
  'etag',
  'last-modified',
  'x-ms-blob-type',
  'x-ms-copy-id',
  'x-ms-copy-status',
  'x-ms-error-code',
  'x-ms-request-id',
  'x-ms-version',
];
/** Per rule; of many alike the first are enough. */
const MOST_NOTES = 40;

type Answer = Awaited<ReturnType<RequestPolicy['sendRequest']>>;
type Request = Parameters<RequestPolicy['sendRequest']>[0];

/** No answer came within the time: nobody knows what the endpoint would have said. */
export class NoAnswer extends Error {}

/** Collects what one rule does on the wire. */
export class Wire {
  readonly notes: WireEvidence[] = [];

  constructor(readonly callTimeoutMs: number) {}

  /** For clients of the SDK. */
  pipeline(credential: StorageSharedKeyCredential | AnonymousCredential): Pipeline {
    const pipeline = newPipeline(credential, {
      retryOptions: { retryPolicyType: StorageRetryPolicyType.FIXED, maxTries: 1 },
      keepAliveOptions: { enable: true },
    });
    pipeline.factories.push({ create: (next: RequestPolicy, options: RequestPolicyOptions) => new Noting(next, options, this) });
    return pipeline;
  }

  anonymous(): Pipeline {
    return this.pipeline(new AnonymousCredential());
  }

  /** A request past the SDK, for what it would not send. Answers the status. */
  async raw(method: string, url: string, headers: Record<string, string>): Promise<number> {
    const began = performance.now();
    try {
      const answer = await fetch(url, { method, headers, redirect: 'manual', signal: AbortSignal.timeout(this.callTimeoutMs) });
      await answer.arrayBuffer();
      this.note(describeRequest(method, url, headers), answer.status, (name) => answer.headers.get(name) ?? undefined, began);
      return answer.status;
    } catch (error) {
      this.note(describeRequest(method, url, headers), null, () => undefined, began);
      throw new NoAnswer(reasonOf(error));
    }
  }

  note(request: string, status: number | null, header: (name: string) => string | undefined, began: number): void {
    if (this.notes.length >= MOST_NOTES) return;
    const headers: Record<string, string> = {};
    for (const name of NOTED) {
      const value = header(name);
      if (value !== undefined) headers[name] = value.slice(0, 200);
    }
    this.notes.push({ request, status, errorCode: header('x-ms-error-code') ?? null, headers, ms: Math.round(performance.now() - began) });
  }
}

class Noting extends BaseRequestPolicy {
  constructor(
    next: RequestPolicy,
    options: RequestPolicyOptions,
    private readonly wire: Wire,
  ) {
    super(next, options);
  }

  async sendRequest(request: Request): Promise<Answer> {
    const began = performance.now();
    const name = describeRequest(request.method, request.url, { 'x-ms-copy-source': request.headers.get('x-ms-copy-source') ?? '' });
    // The SDK's own time-out is a wish to the server (`?timeout=`); this one holds.
    const limit = AbortSignal.timeout(this.wire.callTimeoutMs);
    request.abortSignal = request.abortSignal ? AbortSignal.any([request.abortSignal as AbortSignal, limit]) : limit;
    try {
      const answer = await this._nextPolicy.sendRequest(request);
      this.wire.note(name, answer.status, (header) => answer.headers.get(header), began);
      return answer;
    } catch (error) {
      const { statusCode, response } = error as { statusCode?: number; response?: Pick<Answer, 'headers'> };
      this.wire.note(name, statusCode ?? null, (header) => response?.headers.get(header) ?? undefined, began);
      throw error;
    }
  }
}

/** Without account, names and signatures: the kind of the request. */
function describeRequest(method: string, url: string, headers: Record<string, string>): string {
  const query = new URL(url).searchParams;
  const kinds = ['restype', 'comp'].flatMap((name) => (query.get(name) ? [`${name}=${query.get(name)!}`] : []));
  return `${method}${kinds.length > 0 ? ` ?${kinds.join('&')}` : ''}${headers['x-ms-copy-source'] ? ' from URL' : ''}`;
}

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split('\n')[0]!.slice(0, 300);
