import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import type { components } from '../../../openapi/generated/control-plane.js';

type Session = components['schemas']['LandingSession'];
export type LandingProgress = components['schemas']['LandingProgress'];
type Problem = components['schemas']['Problem'];
interface Refusal {
  status: number;
  problem: Pick<Problem, 'code' | 'detail' | 'errors' | 'instance'>;
}

const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.html': 'text/html',
};
const CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'";

export const SESSION_ID = '7d0f62ab-0000-7000-8000-000000000001';

export function sampleSession(change: Partial<Session> = {}): Session {
  return {
    sessionId: SESSION_ID,
    marketplace: 'azure',
    state: 'needs_details',
    purchase: {
      offerName: 'Harbour Blob Storage',
      planName: 'Team 10 TiB',
      subscriptionName: 'archive-prod',
      quantity: 2,
      term: { startsAt: '2027-01-01T00:00:00Z', endsAt: '2027-02-01T00:00:00Z', unit: 'P1M' },
      beneficiaryEmail: 'data.team@archive.example',
      purchaserEmail: 'purchasing@archive.example',
    },
    includes: [
      { label: 'Capacity', value: '10 TiB' },
      { label: 'Throughput', value: '200 MiB/s' },
      { label: 'Included transfer out', value: '1 TiB a month' },
    ],
    regions: [
      { id: 'weu', name: 'West Europe (Amsterdam)' },
      { id: 'neu', name: 'North Europe (Dublin)' },
    ],
    defaults: { organisation: '', region: '', contactName: '', contactEmail: 'data.team@archive.example' },
    access: { state: 'granted', askedAt: null, reason: null },
    signIn: null,
    progress: null,
    endpoint: null,
    keptData: null,
    tenant: null,
    apiKey: null,
    problem: null,
    support: { email: 'support@harbour.example', reference: 'sub_7d0f62ab-0000-7000-8000-00000000000a' },
    ...change,
  };
}

/** The control plane's side of the landing page: what a test sets is what it answers. */
export class LandingServer {
  session: Session = sampleSession();
  refusal: Refusal | null = null;
  /** The answer to the details; null accepts them. */
  detailsRefusal: Refusal | null = null;
  claimRefusal: Refusal | null = null;
  readonly received: unknown[] = [];
  readonly claims: unknown[] = [];
  reads = 0;
  #server: Server | null = null;
  #port = 0;

  constructor(private readonly dist: string) {}

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => void this.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** As when the process is killed: open connections break, new ones are refused. */
  async vanish(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('content-security-policy', CSP);
    const { pathname } = new URL(request.url ?? '/', this.url);
    const api = `/landing/api/sessions/${SESSION_ID}`;
    if (pathname === api && request.method === 'GET') {
      this.reads += 1;
      if (this.refusal) return problem(response, this.refusal);
      json(response, 200, this.session);
      // As the real server does: secrets leave once.
      if (this.session.endpoint?.keysShownOnce)
        this.session = { ...this.session, apiKey: null, endpoint: { ...this.session.endpoint, keys: null } };
      return undefined;
    }
    if (pathname === `${api}/claim` && request.method === 'POST') {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      this.claims.push(JSON.parse(Buffer.concat(chunks).toString()));
      if (this.claimRefusal) return problem(response, this.claimRefusal);
      this.session = { ...this.session, access: { state: 'pending', askedAt: new Date().toISOString(), reason: null } };
      return json(response, 202, this.session);
    }
    if (pathname === `${api}/details` && request.method === 'POST') {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      this.received.push(JSON.parse(Buffer.concat(chunks).toString()));
      if (this.detailsRefusal) return problem(response, this.detailsRefusal);
      return json(response, 202, this.session);
    }
    const file = pathname.startsWith('/portal-assets/')
      ? pathname.slice('/portal-assets/'.length)
      : pathname.startsWith('/landing/')
        ? 'index.html'
        : null;
    const content = file && (await readFile(join(this.dist, file)).catch(() => null));
    if (!file || !content) return void response.writeHead(404).end();
    return void response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(content);
  }
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function problem(response: ServerResponse, { status, problem }: Refusal): void {
  const document: Problem = { type: 'about:blank', title: problem.code, status, ...problem };
  response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(document));
}
