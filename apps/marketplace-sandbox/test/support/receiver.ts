import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  text: string;
  // Wire bodies are read as they come; undefined where they are no JSON.
  body: any;
  /** The line broke before the end; nothing was answered. */
  isCut: boolean;
  /** From the first line to the last byte. */
  tookMs: number;
}

/** What to answer; `undefined` status = never answer. */
export type Answering = (
  received: Received,
  count: number,
) => { status?: number; body?: unknown } | Promise<{ status?: number; body?: unknown }>;

/** Stands where the control plane would: a plain HTTP server that remembers and answers as told. */
export class Receiver {
  readonly received: Received[] = [];
  answering: Answering = () => ({ status: 200 });
  private server: Server | undefined;
  private port = 0;

  async start(): Promise<string> {
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      const started = performance.now();
      const received = (isCut: boolean): Received => {
        const text = Buffer.concat(chunks).toString();
        const { url, headers } = request;
        return { path: url ?? '', headers, text, body: parsed(text), isCut, tookMs: performance.now() - started };
      };
      request.on('error', () => this.received.push(received(true)));
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        void (async () => {
          const one = received(false);
          this.received.push(one);
          const { status, body } = await this.answering(one, this.received.length);
          if (status === undefined) return;
          response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}));
        })();
      });
    });
    await new Promise<void>((resolve) => this.server?.listen(this.port, '127.0.0.1', resolve));
    this.port = (this.server.address() as AddressInfo).port;
    return `http://127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve) ?? resolve(undefined));
  }

  of(action: string): Received[] {
    return this.received.filter((one) => one.body?.action === action);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
