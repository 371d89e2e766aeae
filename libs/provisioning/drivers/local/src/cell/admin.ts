/** The admin port: loopback, guarded by the nonce. `GET /identity` alone is open, and proves the nonce without sending it. */
import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { clockToken, identityProof } from '../files.js';
import type { CellConfigureRequest, CellFile, CellIdentity, CellStatus, ClockTarget, IngestTarget } from '../wire.js';
import type { CellConfigureAnswer } from '../wire.js';
import type { LastSample } from '#provisioning/core';

const MAX_BODY = 4 * 1024 * 1024;

/** What the cell can be asked for. */
export interface CellControl {
  readonly ready: boolean;
  status(): CellStatus;
  configure(request: CellConfigureRequest): Promise<CellConfigureAnswer>;
  connect(ingest: IngestTarget | null, clock: ClockTarget | null): Promise<void>;
  suspend(placementId: string): Promise<LastSample>;
  resume(placementId: string): Promise<void>;
  /** A sample of one or all placements at this instant, posted with its watermark. */
  sampleNow(placementId?: string): Promise<{ at: string; sequence: string; acknowledged: boolean }>;
  addProbe(lifeMs?: number): Promise<{ accountName: string; secretBase64: string }>;
  removeProbe(accountName: string): Promise<boolean>;
  clock(body: { phase?: unknown; offsetMs?: unknown }): Promise<object>;
  stop(): void;
}

/** Answered as 404 or 409. */
export class CellRefusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
  ) {
    super(code);
  }
}

export function createAdmin(cell: CellFile, control: CellControl): Server {
  const clock = clockToken(cell.nonce);
  return createServer((request, response) => {
    handle(request).then(
      (body) => send(response, 200, body),
      (error: unknown) => {
        if (error instanceof CellRefusal) return send(response, error.status, { code: error.code });
        console.error('admin call failed', request.method, request.url, error);
        send(response, 500, { code: 'cell.internal' });
      },
    );
  });

  async function handle(request: IncomingMessage): Promise<object> {
    const url = new URL(request.url ?? '/', 'http://cell');
    const route = `${request.method} ${url.pathname}`;
    if (route === 'GET /identity') {
      const identity: CellIdentity = {
        cellId: cell.cellId,
        pid: process.pid,
        ready: control.ready,
        proof: identityProof(cell.nonce, url.searchParams.get('challenge') ?? '', cell.cellId, process.pid),
      };
      return identity;
    }
    const allowed = bearerIs(request, cell.nonce) || (route === 'POST /clock' && bearerIs(request, clock));
    if (!allowed) throw new CellRefusal(401, 'cell.unauthenticated');
    const body = request.method === 'POST' ? await readBody(request) : {};
    if (route === 'POST /stop') {
      control.stop();
      return {};
    }
    if (!control.ready) throw new CellRefusal(503, 'cell.starting');
    switch (route) {
      case 'GET /status':
        return control.status();
      case 'POST /configure':
        return control.configure(body as unknown as CellConfigureRequest);
      case 'POST /connect':
        await control.connect((body.ingest ?? null) as IngestTarget | null, (body.clock ?? null) as ClockTarget | null);
        return {};
      case 'POST /suspend':
        return control.suspend(String(body.placementId));
      case 'POST /resume':
        await control.resume(String(body.placementId));
        return {};
      case 'POST /samples':
        return control.sampleNow(typeof body.placementId === 'string' ? body.placementId : undefined);
      case 'POST /clock':
        return control.clock(body);
      case 'POST /probes':
        return control.addProbe(typeof body.lifeMs === 'number' ? body.lifeMs : undefined);
      default:
        if (request.method === 'DELETE' && url.pathname.startsWith('/probes/'))
          return { removed: await control.removeProbe(url.pathname.slice(8)) };
        throw new CellRefusal(404, 'cell.no_route');
    }
  }
}

function bearerIs(request: IncomingMessage, token: string): boolean {
  const given = Buffer.from(request.headers.authorization ?? '');
  const wanted = Buffer.from(`Bearer ${token}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new CellRefusal(413, 'cell.body_too_large');
    chunks.push(chunk);
  }
  if (size === 0) return {};
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    if (body !== null && typeof body === 'object' && !Array.isArray(body)) return body as Record<string, unknown>;
  } catch {
    // below
  }
  throw new CellRefusal(400, 'cell.bad_body');
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
