/**
 * One request through the gateway, counted exactly:
 * - nothing counts unless Azurite has accepted the signature (its hook calls `authorise`);
 * - ingress: body bytes that came in; egress: body bytes given to the kernel for the client;
 * - the last piece of an answer goes out after the count is in the journal, so whoever has a whole answer is counted.
 *   (If the client leaves while that last piece, at most 64 KiB, is written, it counts as sent.)
 */
import { request as httpRequest, type Agent, type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { TRANSFER_HEADER } from './azurite.js';
import type { Reservation } from './quota.js';
import { refuse, REFUSALS } from './refusal.js';

/** Long transfers are put into the journal as they go: a kill takes no more than this from the count. */
const PROGRESS_BYTES = 1024 * 1024;
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade', 'host', 'expect', TRANSFER_HEADER]);

export interface TransferParts {
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly agent: Agent;
  readonly socketPath: string;
  /** Fixed, never the client's own: Azurite trusts it when it verifies a copy source. */
  readonly host: string;
  readonly placementId: string | null;
  readonly admit: () => Reservation | undefined;
  readonly count: (ingress: number, egress: number, requests: number) => void;
  readonly onSuccess: () => void;
}

export class Transfer {
  readonly ended: Promise<void>;
  readonly placementId: string | null;
  private finish!: () => void;
  private upstream: ClientRequest | undefined;
  private reservation: Reservation | undefined;
  private isAuthorised = false;
  private isBodyOpen = false;
  private isOver = false;
  private requestCounted = false;
  /** Not yet in the journal. */
  private ingress = 0;
  private egress = 0;
  /** Written to the client, not yet taken by the kernel. */
  private pendingWrites = 0;
  private held: Buffer | undefined;
  private status = 0;

  constructor(private readonly parts: TransferParts) {
    this.placementId = parts.placementId;
    this.ended = new Promise((resolve) => (this.finish = resolve));
  }

  run(): void {
    const { parts } = this;
    const { request, response } = parts;
    const headers = forwardedHeaders(request);
    const hasBody = headers.some((h, i) => i % 2 === 0 && h.toLowerCase() === 'content-length' && headers[i + 1] !== '0');
    // Without a body Azurite acts on the head alone, so there is no later moment to refuse at.
    if (!hasBody && !this.reserve()) return;
    headers.push('Host', parts.host, 'Connection', 'keep-alive', TRANSFER_HEADER, parts.id);
    const upstream = httpRequest({
      socketPath: parts.socketPath,
      agent: parts.agent,
      method: request.method,
      path: request.url,
      headers,
      setHost: false,
    });
    this.upstream = upstream;
    upstream.on('response', (answer) => this.answer(answer));
    upstream.on('error', () => this.fail());
    request.on('aborted', () => this.abort());
    request.on('error', () => this.abort());
    response.on('close', () => (response.writableFinished ? this.end() : this.abort()));
    if (hasBody) upstream.flushHeaders();
    else upstream.end();
  }

  /** The signature is good. Now, not earlier, a body may take room and flow. */
  authorise(): void {
    this.isAuthorised = true;
    const { request } = this.parts;
    if (!this.upstream || this.isBodyOpen || this.isOver || Number(request.headers['content-length'] ?? 0) === 0) return;
    if (!this.reserve()) return;
    this.isBodyOpen = true;
    const upstream = this.upstream;
    request.on('data', (chunk: Buffer) => {
      this.ingress += chunk.length;
      this.commitIfLarge();
      if (!upstream.write(chunk)) {
        request.pause();
        upstream.once('drain', () => request.resume());
      }
    });
    request.on('end', () => upstream.end());
  }

  /** Ends it now; what has moved is counted. */
  abort(): void {
    if (this.isOver) return;
    this.upstream?.destroy();
    this.parts.response.destroy();
    this.end();
  }

  commitProgress(): void {
    if (!this.isAuthorised) return;
    const { ingress, egress } = this;
    this.ingress = this.egress = 0;
    this.parts.count(ingress, egress, 0);
  }

  private reserve(): boolean {
    this.reservation = this.parts.admit();
    if (this.reservation) return true;
    this.isOver = true;
    this.upstream?.destroy();
    refuse(this.parts.request, this.parts.response, REFUSALS.quota);
    this.finish();
    return false;
  }

  private answer(answer: IncomingMessage): void {
    const { request, response } = this.parts;
    if (this.isOver) return void answer.destroy();
    this.status = answer.statusCode ?? 500;
    // An early answer (a refused signature): let the client finish sending, or it sees a reset.
    if (!this.isBodyOpen) request.resume();
    response.writeHead(this.status, withoutHopByHop(answer.rawHeaders));
    answer.on('data', (chunk: Buffer) => {
      if (this.held) this.send(this.held, answer);
      this.held = chunk;
    });
    answer.on('aborted', () => this.abort());
    answer.on('error', () => this.abort());
    answer.on('end', () => this.whenSent(() => this.complete()));
  }

  private send(chunk: Buffer, answer: IncomingMessage): void {
    const { response } = this.parts;
    this.pendingWrites += 1;
    const more = response.write(chunk, (error) => {
      this.pendingWrites -= 1;
      if (!error) {
        this.egress += chunk.length;
        this.commitIfLarge();
      }
      if (this.pendingWrites === 0) this.sent?.();
    });
    if (!more) {
      answer.pause();
      response.once('drain', () => answer.resume());
    }
  }

  private sent: (() => void) | undefined;

  private whenSent(then: () => void): void {
    if (this.pendingWrites === 0) then();
    else this.sent = then;
  }

  /** The last piece is held back until all before it has left: count, then let it go. */
  private complete(): void {
    if (this.isOver) return;
    const { request, response } = this.parts;
    this.isOver = true;
    this.egress += this.held?.length ?? 0;
    this.commitFinal();
    this.settle();
    if (this.held) response.end(this.held);
    else response.end();
    // Azurite may answer before it has read the body: let the client finish, forward no more.
    if (!request.complete) request.removeAllListeners('data').resume();
    if (!this.upstream?.writableEnded) this.upstream?.destroy();
    this.finish();
  }

  private fail(): void {
    if (this.isOver) return;
    refuse(this.parts.request, this.parts.response, REFUSALS.upstream);
    this.end();
  }

  private end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.commitFinal();
    this.settle();
    this.finish();
  }

  private settle(): void {
    // Broken off while Azurite may still finish it: count the room as taken until the next reading.
    const changed = this.status === 0 ? this.isAuthorised : this.status < 300;
    this.reservation?.release(changed);
    if (changed) this.parts.onSuccess();
  }

  private commitIfLarge(): void {
    if (this.isOver ? this.isAuthorised : this.ingress + this.egress >= PROGRESS_BYTES) this.commitProgress();
  }

  private commitFinal(): void {
    if (!this.isAuthorised) return;
    const { ingress, egress } = this;
    this.ingress = this.egress = 0;
    this.parts.count(ingress, egress, this.requestCounted ? 0 : 1);
    this.requestCounted = true;
  }
}

function forwardedHeaders(request: IncomingMessage): string[] {
  const out = withoutHopByHop(request.rawHeaders);
  // Without this Node would send a body in chunks, whose length nobody signed.
  if (request.headers['content-length'] === undefined && (request.method === 'PUT' || request.method === 'POST'))
    out.push('Content-Length', '0');
  return out;
}

function withoutHopByHop(raw: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) if (!HOP_BY_HOP.has(raw[i]!.toLowerCase())) out.push(raw[i]!, raw[i + 1]!);
  return out;
}
