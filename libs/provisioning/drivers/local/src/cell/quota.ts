/**
 * The hard quota in the data path. A write is admitted when what is stored, what has been written since that was
 * read, what is on its way now, and this write together stay within the quota: concurrency cannot pass it.
 * While an overwrite runs both copies count, so it needs room for the new one.
 */
import type { IncomingMessage } from 'node:http';

/** Reads the true stored bytes of every account, and the length of a blob. */
export interface StoredBytes {
  storedBytes(): Map<string, bigint>;
  blobLength(accountName: string, containerName: string, name: string, snapshot: string): number;
}

/** Room taken for one write until it has ended. */
export interface Reservation {
  /** `changed`: Azurite answered with success, so the table may be different now. */
  release(changed: boolean): void;
}

interface Tally {
  /** Written since the last reading, not yet in it. */
  settled: bigint;
  inFlight: bigint;
}

export class QuotaGate {
  private stored = new Map<string, bigint>();
  private readonly tallies = new Map<string, Tally>();
  private stale = true;

  constructor(private readonly source: StoredBytes) {}

  /** Exact now. */
  read(accountName: string): bigint {
    this.refresh();
    return this.stored.get(accountName) ?? 0n;
  }

  /** Undefined: refused. */
  admit(accountName: string, growth: bigint, hardQuotaBytes: string | null): Reservation | undefined {
    const tally = this.tallies.get(accountName) ?? { settled: 0n, inFlight: 0n };
    this.tallies.set(accountName, tally);
    if (hardQuotaBytes !== null && growth > 0n) {
      const hard = BigInt(hardQuotaBytes);
      const over = (): boolean => (this.stored.get(accountName) ?? 0n) + tally.settled + tally.inFlight + growth > hard;
      // Refuse only by a fresh reading: the tally never sees a deletion.
      if (this.stale && (over() || !this.stored.has(accountName))) this.refresh();
      if (over()) return undefined;
    }
    tally.inFlight += growth;
    let held = true;
    return {
      release: (changed) => {
        if (!held) return;
        held = false;
        tally.inFlight -= growth;
        if (changed) {
          tally.settled += growth;
          this.stale = true;
        }
      },
    };
  }

  /** Something may have been deleted or replaced. */
  touch(): void {
    this.stale = true;
  }

  private refresh(): void {
    this.stored = this.source.storedBytes();
    for (const tally of this.tallies.values()) tally.settled = 0n;
    this.stale = false;
  }
}

/** By how many bytes a request can raise what its account stores, at most. 0 for what cannot. */
export function growthOf(request: IncomingMessage, accountName: string, source: StoredBytes): bigint {
  if (request.method !== 'PUT' && request.method !== 'POST') return 0n;
  const url = new URL(request.url ?? '/', 'http://cell');
  const comp = url.searchParams.get('comp');
  if (url.searchParams.get('restype') === 'container' || url.searchParams.get('restype') === 'service') return 0n;
  const header = (name: string): string | undefined => {
    const value = request.headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  const number = (text: string | undefined): bigint => (text !== undefined && /^[0-9]{1,18}$/.test(text) ? BigInt(text) : 0n);
  const copySource = header('x-ms-copy-source');
  if (copySource !== undefined && URL.canParse(copySource)) {
    const from = blobOf(new URL(copySource));
    return from ? BigInt(source.blobLength(accountName, from.container, from.name, from.snapshot)) : 0n;
  }
  switch (comp) {
    case 'snapshot': {
      const base = blobOf(url);
      return base ? BigInt(source.blobLength(accountName, base.container, base.name, '')) : 0n;
    }
    case null:
      // A page blob is its full length from the start.
      return number(header('x-ms-blob-content-length')) || number(header('content-length'));
    case 'properties':
      return number(header('x-ms-blob-content-length'));
    case 'block':
    case 'appendblock':
      return number(header('content-length'));
    default:
      return 0n;
  }
}

function blobOf(url: URL): { container: string; name: string; snapshot: string } | undefined {
  try {
    const [, , container, ...rest] = decodeURIComponent(url.pathname).split('/');
    return container && rest.length > 0 ? { container, name: rest.join('/'), snapshot: url.searchParams.get('snapshot') ?? '' } : undefined;
  } catch {
    return undefined;
  }
}
