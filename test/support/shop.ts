import type { ChildProcess } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '#platform';
import { startProgram } from './program.js';

/** The sandbox as a process, and settings that are right for it. */
export class Shop {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
    private readonly pubsub: string,
    private readonly folder: string,
  ) {}

  static async open(): Promise<Shop> {
    const { child, url, banner } = await startProgram('apps/marketplace-sandbox/src/main.js', [], { SANDBOX_PORT: '0' });
    return new Shop(child, url, String(banner['pubsub']), mkdtempSync(join(tmpdir(), 'berth-shop-')));
  }

  settings(changed: Record<string, string> = {}): Record<string, string> {
    return {
      BERTH_DATA: join(this.folder, 'data'),
      BERTH_SANDBOX_URL: this.url,
      AZURE_TENANT_ID: '7b1d2c54-3a0e-4f6b-9c11-5f0e8a4d2b90',
      AZURE_CLIENT_ID: 'c2a5e0f3-64b7-4d19-8e2a-1b9f7c3d5a68',
      AZURE_CLIENT_SECRET: 'hs8Q~sandbox-only-invented-secret-0001',
      AZURE_CLIENT_SECRET_EXPIRES: '2199-01-01',
      AZURE_SIGN_IN_CLIENT_ID: '5d2e7f90-1b3c-4a5d-9e6f-7081a2b3c4d6',
      AZURE_SIGN_IN_CLIENT_SECRET: 'sandbox-sign-in-secret',
      AZURE_SIGN_IN_CLIENT_SECRET_EXPIRES: '2199-01-01',
      GCP_PROVIDER_ID: 'harbor-storage-public',
      GCP_PROJECT_ID: 'harbor-storage-public',
      GCP_SUBSCRIPTION: 'berth-marketplace',
      GCP_SERVICE_NAME: 'object-cells.endpoints.harbor-storage-public.cloud.goog',
      GCP_AUDIENCES: 'harbor-storage.example',
      GCP_PUBSUB_ENDPOINT: this.pubsub,
      AWS_PRODUCT_CODES: '4harborobjectcells0000000',
      AWS_WEBHOOK_SECRET: 'sandbox-eventbridge-secret-0001',
      AWS_PRODUCT_IDS: 'prod-harborobjectcells=4harborobjectcells0000000',
      ...changed,
    };
  }

  /** A copy of the catalog with one text of one file exchanged everywhere. */
  catalog(file: string, from: string, to: string): string {
    const folder = mkdtempSync(join(this.folder, 'catalog-'));
    cpSync(join(projectRoot(), 'catalog'), folder, { recursive: true });
    const text = readFileSync(join(folder, file), 'utf8');
    if (!text.includes(from)) throw new Error(`${file} does not hold ${from}`);
    writeFileSync(join(folder, file), text.replaceAll(from, to));
    return folder;
  }

  async post(path: string, body: unknown): Promise<void> {
    const answer = await fetch(`${this.url}/sandbox${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  }

  get dataFolder(): string {
    return join(this.folder, 'data');
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGTERM');
    await ended;
  }
}

async function listening(server: Server): Promise<{ url: string; close: () => Promise<void> }> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Hands everything on and says that it is `seconds` later than it is: to us, our own clock looks slow. */
export const skewed = (target: string, seconds: number): ReturnType<typeof listening> =>
  listening(
    createServer((incoming, reply) => {
      const onward = request(`${target}${incoming.url}`, { method: incoming.method, headers: incoming.headers }, (answer) => {
        reply.sendDate = false;
        reply.writeHead(answer.statusCode!, { ...answer.headers, date: new Date(Date.now() + seconds * 1000).toUTCString() });
        answer.pipe(reply);
      });
      incoming.pipe(onward);
    }),
  );

/** Takes every request and answers none. */
export const silent = (): ReturnType<typeof listening> => listening(createServer(() => undefined));
