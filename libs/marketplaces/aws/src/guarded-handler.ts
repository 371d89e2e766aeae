import { type GuardedHttp, HttpTransportError } from '#platform';

interface SmithyRequest {
  method: string;
  protocol: string;
  hostname: string;
  port?: number;
  path: string;
  query?: Record<string, string | string[] | null>;
  headers: Record<string, string>;
  body?: unknown;
}
interface SmithyResponse {
  statusCode: number;
  headers: Record<string, string>;
  body: Uint8Array;
}
interface HandlerOptions {
  abortSignal?: unknown;
}

/**
 * The SDK's way out, through the guarded client instead of sockets of its own: host allow-list, connection to the address that was
 * checked, no redirects, caps of size and time. `timeoutMs` is real and for the whole exchange; a caller's signal may end it earlier.
 */
export class GuardedHandler {
  readonly metadata = { handlerProtocol: 'http/1.1' };

  constructor(
    private readonly http: GuardedHttp,
    private readonly timeoutMs: number,
  ) {}

  async handle(request: SmithyRequest, { abortSignal }: HandlerOptions = {}): Promise<{ response: SmithyResponse }> {
    const answer = await this.http.request({
      method: request.method as 'POST',
      url: urlOf(request),
      headers: request.headers,
      ...bodyOf(request.body),
      timeoutMs: this.timeoutMs,
      ...(abortSignal instanceof AbortSignal ? { signal: abortSignal } : {}),
    });
    return { response: { statusCode: answer.status, headers: answer.headers, body: Buffer.from(answer.text, 'utf8') } };
  }

  /** The guarded client's lifetime is its owner's. */
  destroy(): void {}
  updateHttpClientConfig(): void {}
  httpHandlerConfigs(): Record<string, never> {
    return {};
  }
}

function urlOf({ protocol, hostname, port, path, query = {} }: SmithyRequest): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one ?? '')}`),
  );
  const host = port === undefined ? hostname : `${hostname}:${port}`;
  return `${protocol}//${host}${path}${pairs.length > 0 ? `?${pairs.join('&')}` : ''}`;
}

/** All services that are called take text. */
function bodyOf(body: unknown): { body?: string } {
  if (body === undefined || body === null) return {};
  if (typeof body === 'string') return { body };
  if (body instanceof Uint8Array) return { body: new TextDecoder().decode(body) };
  throw new HttpTransportError('http.body_unsupported', 'only texts are sent to AWS', false);
}
