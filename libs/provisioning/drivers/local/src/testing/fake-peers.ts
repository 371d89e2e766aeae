/** A tiny owner of the development clock and a tiny usage intake, as strict as the cell needs them. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CellEvent } from '../wire.js';

interface Reply {
  readonly status: number;
  readonly body?: unknown;
  /** Do the work, then lose the answer. */
  readonly drop?: boolean;
}

async function serve(
  handle: (method: string, path: string, body: unknown, request: IncomingMessage) => Reply | Promise<Reply>,
  port = 0,
): Promise<Server> {
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      const reply = await handle(request.method ?? '', request.url ?? '', text ? JSON.parse(text) : undefined, request);
      if (reply.drop) return request.socket.destroy();
      response.writeHead(reply.status, { 'content-type': 'application/json' }).end(JSON.stringify(reply.body ?? {}));
    })();
  });
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  return server;
}

const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const closed = (server: Server): Promise<void> =>
  new Promise((done) => {
    server.closeAllConnections();
    server.close(() => done());
  });

interface Participant {
  readonly name: string;
  readonly url: string;
  readonly token: string;
  readonly order: number;
}

/** Speaks the clock protocol (guide clock-protocol). */
export class FakeClockOwner {
  readonly participants = new Map<string, Participant>();
  offsetMs = 0;
  generation = 0;
  private server!: Server;

  async start(port = 0): Promise<this> {
    this.server = await serve((method, path, body) => {
      if (method === 'POST' && path === '/sandbox/clock/participants') {
        const p = body as Participant;
        this.participants.set(p.name, p);
        return { status: 200, body: { offsetMs: this.offsetMs, generation: this.generation } };
      }
      if (method === 'DELETE') this.participants.delete(decodeURIComponent(path.split('/').pop() ?? ''));
      return { status: 200, body: { offsetMs: this.offsetMs, generation: this.generation, participants: [...this.participants.values()] } };
    }, port);
    return this;
  }

  get url(): string {
    return urlOf(this.server);
  }

  /** One step; returns how many rounds it took until nobody worked. */
  async advance(seconds: number): Promise<number> {
    this.offsetMs += seconds * 1000;
    this.generation += 1;
    const tell = async (phase: 'set' | 'settle'): Promise<boolean> => {
      let worked = false;
      for (const p of this.participants.values()) {
        const response = await fetch(p.url, {
          method: 'POST',
          headers: { authorization: `Bearer ${p.token}`, 'content-type': 'application/json' },
          body: JSON.stringify(
            phase === 'set' ? { phase, offsetMs: this.offsetMs, generation: this.generation } : { phase, generation: this.generation },
          ),
        });
        if (!response.ok) throw new Error(`${p.name} answered ${response.status} to ${phase}`);
        worked ||= ((await response.json()) as { worked?: boolean }).worked === true;
      }
      return worked;
    };
    await tell('set');
    for (let round = 1; ; round += 1) if (!(await tell('settle'))) return round;
  }

  stop(): Promise<void> {
    return closed(this.server);
  }
}

/** The usage intake: deduplicates by (source, id), and misbehaves on demand. */
export class FakeIntake {
  readonly key = 'cell-key';
  readonly accepted: CellEvent[] = [];
  /** Every batch as it came, also the refused and the lost. */
  readonly batches: CellEvent[][] = [];
  duplicates = 0;
  mode: 'good' | 'unavailable' | 'lose_answer' | 'half' | 'silent' = 'good';
  rejects: (event: CellEvent) => string | undefined = () => undefined;
  private readonly known = new Map<string, string>();
  private server!: Server;

  async start(port = 0): Promise<this> {
    this.server = await serve((_method, path, body, request) => this.take(path, body as CellEvent[], request), port);
    return this;
  }

  get target(): { url: string; key: string } {
    return { url: `${urlOf(this.server)}/api/v1/usage-events`, key: this.key };
  }

  samples(metric: string, subject: string): { time: string; value: string }[] {
    return this.accepted
      .filter((e) => e.subject === subject && e.data.metric === metric)
      .map((e) => ({ time: e.time, value: e.data.value ?? '' }));
  }

  stop(): Promise<void> {
    return closed(this.server);
  }

  private take(path: string, batch: CellEvent[], request: IncomingMessage): Reply {
    if (path !== '/api/v1/usage-events') return { status: 404 };
    if (request.headers.authorization !== `Bearer ${this.key}`) return { status: 401 };
    if (request.headers['content-type'] !== 'application/cloudevents-batch+json') return { status: 415 };
    this.batches.push(batch);
    if (this.mode === 'unavailable') return { status: 503 };
    if (this.mode === 'silent') return { status: 200, body: { results: [] } };
    const results = batch.map((event, index) => {
      const code = this.rejects(event);
      if (code) return { index, id: event.id, outcome: 'rejected', code };
      const before = this.known.get(event.id);
      if (before !== undefined) {
        this.duplicates += 1;
        return { index, id: event.id, outcome: before === JSON.stringify(event) ? 'duplicate' : 'conflict' };
      }
      this.known.set(event.id, JSON.stringify(event));
      this.accepted.push(event);
      return { index, id: event.id, outcome: 'accepted' };
    });
    if (this.mode === 'lose_answer') return { status: 200, drop: true };
    return { status: 200, body: { results: this.mode === 'half' ? results.slice(0, Math.ceil(results.length / 2)) : results } };
  }
}
