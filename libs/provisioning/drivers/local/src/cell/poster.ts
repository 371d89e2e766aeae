/** Posts the outbox, oldest first, until each event is accepted or refused for good. One post at a time. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { CellEvent, IngestTarget } from '../wire.js';
import type { Journal } from './journal.js';

const BATCH = 500;
const TIMEOUT_MS = 10_000;
const BACKOFF_MS = { first: 500, most: 60_000 };

interface ItemResult {
  readonly index?: unknown;
  readonly id?: unknown;
  readonly outcome?: unknown;
  readonly code?: unknown;
}

export class Poster {
  lastError: string | null = null;
  private target: IngestTarget | null = null;
  private flight: Promise<number> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private backoffMs = BACKOFF_MS.first;
  private stopped = false;
  private readonly refusedIds = new Set<string>();

  constructor(
    private readonly journal: Journal,
    private readonly refusedPath: string,
  ) {
    if (existsSync(refusedPath))
      for (const line of readFileSync(refusedPath, 'utf8').split('\n').filter(Boolean)) {
        try {
          this.refusedIds.add((JSON.parse(line) as { event: CellEvent }).event.id);
        } catch {
          // A torn line: the event stands before it in the outbox and is posted again.
        }
      }
  }

  connect(target: IngestTarget | null): void {
    if (target?.url === this.target?.url && target?.key === this.target?.key) return;
    this.target = target;
    this.backoffMs = BACKOFF_MS.first;
    this.soon(0);
  }

  /** Posts now, without regard to back-off. Returns how many events were settled by this call. */
  flush(): Promise<number> {
    this.flight ??= this.run().finally(() => (this.flight = undefined));
    return this.flight;
  }

  /** Everything up to the sequence has been accepted, and nothing of `subject` was refused. */
  isAcknowledged(sequence: bigint, cellId: string, count: number): boolean {
    const oldest = this.journal.backlog[0];
    if (oldest && BigInt(oldest.sequence) <= sequence) return false;
    for (let s = sequence; s > sequence - BigInt(count) && s > 0n; s -= 1n)
      if (this.refusedIds.has(`${cellId}.${this.journal.epoch}.${s}`)) return false;
    return true;
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async run(): Promise<number> {
    let settled = 0;
    while (!this.stopped && this.target && this.journal.backlog.length > 0) {
      const batch = nextBatch(this.journal.backlog);
      let done = 0;
      try {
        done = await this.post(this.target, batch);
        settled += done;
        if (done < batch.length) throw new Error('the intake gave no result for some events');
        this.lastError = null;
        this.backoffMs = BACKOFF_MS.first;
      } catch (error) {
        this.lastError = error instanceof Error ? error.message : String(error);
        this.soon(this.backoffMs * (0.5 + Math.random()));
        this.backoffMs = Math.min(this.backoffMs * 2, BACKOFF_MS.most);
        break;
      }
    }
    return settled;
  }

  private soon(ms: number): void {
    clearTimeout(this.timer);
    if (!this.stopped) this.timer = setTimeout(() => void this.flush(), ms).unref();
  }

  private async post(target: IngestTarget, batch: readonly CellEvent[]): Promise<number> {
    const response = await fetch(target.url, {
      method: 'POST',
      headers: { authorization: `Bearer ${target.key}`, 'content-type': 'application/cloudevents-batch+json' },
      body: JSON.stringify(batch),
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    // Refused as a whole (key, size, form): nothing is lost, a person has to look.
    if (!response.ok) throw new Error(`the intake answered ${response.status}: ${text.slice(0, 200)}`);
    const results = ((JSON.parse(text) as { results?: ItemResult[] }).results ?? []).filter((r) => r !== null && typeof r === 'object');
    const byId = new Map(results.filter((r) => typeof r.id === 'string').map((r) => [r.id as string, r]));
    const byIndex = new Map(results.map((r) => [r.index, r]));
    let done = 0;
    let refused = 0;
    for (const [index, event] of batch.entries()) {
      const result = byId.get(event.id) ?? byIndex.get(index);
      if (result?.outcome === 'rejected' || result?.outcome === 'conflict') {
        appendFileSync(this.refusedPath, `${JSON.stringify({ event, outcome: result.outcome, code: result.code ?? null })}\n`, {
          mode: 0o600,
        });
        this.refusedIds.add(event.id);
        refused += 1;
      } else if (result?.outcome !== 'accepted' && result?.outcome !== 'duplicate') break;
      done += 1;
    }
    // The backlog may have lost its oldest while we posted: settle what is still at its head.
    const gone = batch.findIndex((e) => e.id === this.journal.backlog[0]?.id);
    if (done > 0 && gone >= 0) this.journal.settle(Math.max(0, done - gone), refused);
    return done;
  }
}

/** Up to 500, cut behind the last watermark that fits: a batch says itself how far it reaches. */
function nextBatch(backlog: readonly CellEvent[]): readonly CellEvent[] {
  const batch = backlog.slice(0, BATCH);
  const watermark = batch.findLastIndex((e) => e.type === 'berth.watermark.v1');
  return watermark >= 0 ? batch.slice(0, watermark + 1) : batch;
}
