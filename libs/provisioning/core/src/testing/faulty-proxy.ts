/** A proxy before a Blob endpoint that answers otherwise than the contract says, in one thing. For tests of the suite. */
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Seen {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Requests that this one is among, itself included, and that are alike: same method and same `comp`. */
  readonly atOnce: number;
}

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/** `before` answers instead of the endpoint, or lets it through with null; `after` changes what the endpoint said. */
export interface Fault {
  readonly before?: (seen: Seen) => Answer | null | Promise<Answer | null>;
  readonly after?: (answer: Answer, seen: Seen) => void;
  /** Never answers what this is true of. */
  readonly hangs?: (seen: Seen) => boolean;
  /** Breaks the connection on what this is true of. */
  readonly resets?: (seen: Seen) => boolean;
}

export class FaultyProxy {
  fault: Fault = {};
  /** In the order in which they came. */
  readonly requests: { method: string; url: string }[] = [];
  private readonly server: Server;
  private readonly open = new Map<string, number>();

  constructor(private readonly target: { readonly host: string; readonly port: number }) {
    this.server = createServer((request, response) => void this.handle(request, response).catch(() => response.destroy()));
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? '/';
    const query = new URL(url, 'http://proxy').searchParams;
    const method = request.method ?? 'GET';
    const kind = `${method} ${query.get('comp') ?? ''}`;
    this.requests.push({ method, url });
    const atOnce = (this.open.get(kind) ?? 0) + 1;
    this.open.set(kind, atOnce);
    response.once('close', () => this.open.set(kind, this.open.get(kind)! - 1));
    const seen: Seen = { method, url, query, headers: request.headers, body: await bodyOf(request), atOnce };
    const { before, after, hangs, resets } = this.fault;
    if (hangs?.(seen)) return;
    if (resets?.(seen)) return void request.socket.destroy();
    const answer = (await before?.(seen)) ?? (await this.forward(request, seen));
    after?.(answer, seen);
    const headers = Object.fromEntries(Object.entries(answer.headers).filter(([, value]) => value !== undefined)) as Record<string, string>;
    if (method !== 'HEAD' && answer.status !== 304) headers['content-length'] = String(answer.body.length);
    response.writeHead(answer.status, headers);
    response.end(answer.body);
  }

  private forward(request: IncomingMessage, seen: Seen): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const up = httpRequest({ ...this.target, method: seen.method, path: seen.url, headers: { ...request.headers } }, (answer) => {
        bodyOf(answer).then((body) => {
          const { 'transfer-encoding': _, connection: __, 'keep-alive': ___, ...headers } = answer.headers;
          resolve({ status: answer.statusCode ?? 500, headers, body });
        }, reject);
      });
      up.once('error', reject);
      up.end(seen.body);
    });
  }
}

async function bodyOf(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
