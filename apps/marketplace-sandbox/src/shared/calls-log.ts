import type { VirtualClock } from './clock.js';
import type { Store, Table } from './store.js';

/** One call that a marketplace of the sandbox received. Secrets are taken out before it gets here. */
export interface CallEntry {
  sequence: number;
  at: string;
  marketplace: string;
  operation: string;
  method: string;
  path: string;
  status: number | null;
  request: unknown;
  response: unknown;
  inFlight: boolean;
  fault?: string;
  /** The caller went away, or the answer was withheld, before it got one. */
  unanswered?: boolean;
}

export interface CallFilter {
  marketplace?: string;
  operation?: string;
  since?: string;
  limit?: number;
}

const KEPT = 2000;

export class CallsLog {
  private readonly table: Table<CallEntry>;
  private last: number;

  constructor(
    store: Store,
    private readonly clock: VirtualClock,
  ) {
    this.table = store.table<CallEntry>('calls');
    this.last = this.table.values().reduce((most, call) => Math.max(most, call.sequence), 0);
    // A sandbox that was killed answered none of the calls it had open.
    for (const [key, call] of this.table.entries()) {
      if (call.inFlight) this.table.put(key, { ...call, inFlight: false, unanswered: true });
    }
  }

  begin(call: Pick<CallEntry, 'marketplace' | 'operation' | 'method' | 'path' | 'request'>): number {
    const sequence = ++this.last;
    this.table.put(String(sequence), {
      sequence,
      at: this.clock.now().toISOString(),
      ...call,
      status: null,
      response: null,
      inFlight: true,
    });
    if (this.table.size > KEPT) {
      const oldest = this.table.entries()[0];
      if (oldest) this.table.delete(oldest[0]);
    }
    return sequence;
  }

  update(sequence: number, change: Partial<CallEntry>): void {
    const call = this.table.get(String(sequence));
    if (call) this.table.put(String(sequence), { ...call, ...change });
  }

  /** The connection is gone; harmless when the call was answered. */
  end(sequence: number): void {
    if (this.table.get(String(sequence))?.inFlight) this.update(sequence, { inFlight: false, unanswered: true });
  }

  list(filter: CallFilter): CallEntry[] {
    const limit = Math.min(filter.limit ?? 200, KEPT);
    const since = filter.since;
    const found = this.table
      .values()
      .filter((call) => filter.marketplace === undefined || call.marketplace === filter.marketplace)
      .filter((call) => filter.operation === undefined || call.operation === filter.operation)
      .filter(
        (call) => since === undefined || (/^\d+$/.test(since) ? call.sequence > Number(since) : Date.parse(call.at) >= Date.parse(since)),
      )
      .sort((a, b) => a.sequence - b.sequence);
    return since === undefined ? found.slice(-limit) : found.slice(0, limit);
  }
}
