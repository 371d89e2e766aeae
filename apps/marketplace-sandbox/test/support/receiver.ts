import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  text: string;
  // Wire bodies are read as they come.
  body: any;
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
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        void (async () => {
          const text = Buffer.concat(chunks).toString();
          const one: Received = { path: request.url ?? '', headers: request.headers, text, body: text ? JSON.parse(text) : undefined };
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
