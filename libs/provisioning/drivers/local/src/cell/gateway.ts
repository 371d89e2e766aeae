/**
 * The meter in the data path: a streaming reverse proxy from `http://127.0.0.1:PORT/<account>/…` to Azurite's private
 * socket. Each request is one {@link Transfer}; bodies are never held as a whole.
 */
import { Agent, createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Journal } from './journal.js';
import { growthOf, type QuotaGate, type StoredBytes } from './quota.js';
import { refuse, REFUSALS } from './refusal.js';
import type { Tenants } from './tenants.js';
import { Transfer } from './transfer.js';

/** Read from the raw path: nothing is decoded or normalised before Azurite reads the same bytes. */
const ACCOUNT = /^\/([a-z0-9]{3,24})(?:[/?]|$)/;

export interface GatewayParts {
  readonly tenants: Tenants;
  readonly journal: Journal;
  readonly quota: QuotaGate;
  readonly store: StoredBytes;
  readonly socketPath: string;
  /** Something was changed in the store. */
  readonly onWrite: () => void;
}

export class Gateway {
  readonly server: Server;
  private parts: GatewayParts | undefined;
  /** Idle sockets are dropped before Azurite drops them (60 s), or a request would meet a closed one. */
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 256, timeout: 30_000 });
  private readonly transfers = new Map<string, Transfer>();
  private port = 0;
  private next = 0;

  constructor() {
    this.server = createServer((request, response) => this.handle(request, response));
    // A 5 GiB body may take longer than Node's five minutes for one request.
    this.server.requestTimeout = 0;
    this.server.keepAliveTimeout = 65_000;
    this.server.headersTimeout = 70_000;
  }

  /** Takes the kept port; rejects when somebody has it, also another process of the same cell. */
  listen(port: number): Promise<void> {
    this.port = port;
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, '127.0.0.1', resolve);
    });
  }

  open(parts: GatewayParts): void {
    this.parts = parts;
  }

  /** Called by Azurite's hook: this transfer's signature is good. */
  authorised(transferId: string): void {
    this.transfers.get(transferId)?.authorise();
  }

  /** Ends what is on its way for these placements; resolves when all of it is counted. */
  async cut(placementIds: ReadonlySet<string>): Promise<void> {
    const hit = [...this.transfers.values()].filter((t) => placementIds.has(t.placementId ?? ''));
    for (const transfer of hit) transfer.abort();
    await Promise.all(hit.map((t) => t.ended));
  }

  /** Puts into the journal what running transfers have moved so far. */
  flush(): void {
    for (const transfer of this.transfers.values()) transfer.commitProgress();
  }

  async close(): Promise<void> {
    this.parts = undefined;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    const timer = setTimeout(() => {
      for (const transfer of this.transfers.values()) transfer.abort();
      this.server.closeAllConnections();
    }, 2000);
    await closed;
    clearTimeout(timer);
    this.agent.destroy();
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    const parts = this.parts;
    if (!parts) return refuse(request, response, REFUSALS.starting);
    const accountName = ACCOUNT.exec(request.url ?? '')?.[1];
    if (!accountName) return refuse(request, response, REFUSALS.badPath);
    const door = parts.tenants.door(accountName);
    if (door.kind === 'unknown') return refuse(request, response, REFUSALS.unknown);
    if (door.kind === 'disabled') return refuse(request, response, REFUSALS.disabled);
    // Signatures cover Content-Length, and the quota needs it before the first byte.
    if (request.headers['transfer-encoding'] !== undefined) return refuse(request, response, REFUSALS.noLength);
    if (!this.sourceIsOwn(request, accountName)) return refuse(request, response, REFUSALS.copySource);

    const id = String(++this.next);
    const transfer = new Transfer({
      id,
      request,
      response,
      agent: this.agent,
      socketPath: parts.socketPath,
      host: `127.0.0.1:${this.port}`,
      placementId: door.placement?.placementId ?? null,
      admit: () =>
        parts.quota.admit(accountName, growthOf(request, accountName, parts.store), door.placement?.limits.hardQuotaBytes ?? null),
      // The probe's account belongs to no placement: no meter reads it.
      count: (ingress, egress, requests) => {
        if (door.placement) parts.journal.add(door.placement.placementId, ingress, egress, requests);
      },
      onSuccess: () => {
        if (request.method === 'GET' || request.method === 'HEAD') return;
        parts.quota.touch();
        parts.onWrite();
      },
    });
    this.transfers.set(id, transfer);
    void transfer.ended.then(() => this.transfers.delete(id));
    transfer.run();
  }

  /**
   * Azurite copies from any account it has, and asks the source's host for permission by a host name the client chose:
   * a foreign blob could be copied without its key. Only copies within the account are let through.
   */
  private sourceIsOwn(request: IncomingMessage, accountName: string): boolean {
    const source = request.headers['x-ms-copy-source'];
    if (source === undefined) return true;
    if (typeof source !== 'string' || !URL.canParse(source)) return false;
    const url = new URL(source);
    const own = url.port === String(this.port) && (url.hostname === '127.0.0.1' || url.hostname === 'localhost');
    return own && ACCOUNT.exec(url.pathname)?.[1] === accountName && !/%2e|%2f|\\/i.test(source.split('?')[0] ?? '');
  }
}
