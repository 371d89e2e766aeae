/**
 * The cell's durable memory of usage: cumulative counters per placement and the outbox of samples, in one
 * append-only file of JSON lines. A line is appended with one synchronous write *before* the last byte of an answer
 * goes out, so a client never holds an answer that a killed cell has not counted (page cache survives SIGKILL);
 * fsync once a second and at each sample bounds what a power cut can take.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { syncFolder } from '../files.js';
import type { CellEvent } from '../wire.js';

/** Cumulative since the epoch. */
export interface Counters {
  ingressBytes: bigint;
  egressBytes: bigint;
  requests: bigint;
}

type Line =
  | { t: 'h'; epoch: string; seq: string; counters: Record<string, [string, string, string]>; refused: number; dropped: number }
  | { t: 'd'; p: string; i: number; o: number; r: number }
  | { t: 'e'; e: CellEvent }
  | { t: 'a'; n: number; refused?: number; dropped?: number }
  | { t: 'f'; p: string };

export interface JournalOptions {
  /** Oldest events beyond this are thrown away and counted: after days without intake the newest are worth more. */
  readonly maxBacklog?: number;
  readonly compactBytes?: number;
}

export class Journal {
  /** Changes only with a new or lost file; then the counters start again from zero. */
  epoch = '';
  sequence = 0n;
  refused = 0;
  dropped = 0;
  readonly counters = new Map<string, Counters>();
  private outbox: CellEvent[] = [];
  private fd = -1;
  private size = 0;
  /** Size after the last compaction: a large backlog must not be rewritten with each line. */
  private compactedSize = 0;
  private dirty = false;
  private timer: NodeJS.Timeout | undefined;
  private readonly maxBacklog: number;
  private readonly compactBytes: number;

  constructor(
    private readonly path: string,
    options: JournalOptions = {},
  ) {
    this.maxBacklog = options.maxBacklog ?? 100_000;
    this.compactBytes = options.compactBytes ?? 8 * 1024 * 1024;
    this.load();
    this.timer = setInterval(() => this.sync(), 1000).unref();
  }

  get backlog(): readonly CellEvent[] {
    return this.outbox;
  }

  of(placementId: string): Readonly<Counters> {
    return this.counters.get(placementId) ?? { ingressBytes: 0n, egressBytes: 0n, requests: 0n };
  }

  /** Adds a finished (or broken off) stretch of a transfer. On disk when this returns. */
  add(placementId: string, ingress: number, egress: number, requests: number): void {
    if (ingress === 0 && egress === 0 && requests === 0) return;
    this.append([{ t: 'd', p: placementId, i: ingress, o: egress, r: requests }]);
  }

  /** Takes sample events into the outbox, all or none, and syncs. They must carry the next sequences. */
  enqueue(events: readonly CellEvent[]): void {
    this.append(events.map((e) => ({ t: 'e', e })));
    const over = this.outbox.length - this.maxBacklog;
    if (over > 0) this.append([{ t: 'a', n: over, dropped: over }]);
    this.sync();
  }

  /** The oldest `n` events are settled; `refused` of them for good. */
  settle(n: number, refused: number): void {
    this.append([{ t: 'a', n, ...(refused ? { refused } : {}) }]);
  }

  /** After a purge. */
  forget(placementId: string): void {
    this.append([{ t: 'f', p: placementId }]);
  }

  sync(): void {
    if (!this.dirty || this.fd < 0) return;
    this.dirty = false;
    fsyncSync(this.fd);
  }

  close(): void {
    clearInterval(this.timer);
    this.sync();
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
  }

  private append(lines: Line[]): void {
    const text = Buffer.from(lines.map((l) => `${JSON.stringify(l)}\n`).join(''));
    // A short write would tear the file in its middle: undo it, so that the journal stays readable.
    const written = writeSync(this.fd, text, 0, text.length, this.size);
    if (written !== text.length) {
      ftruncateSync(this.fd, this.size);
      throw new Error('the journal could not be written: the disk is full');
    }
    this.size += text.length;
    this.dirty = true;
    for (const line of lines) this.take(line);
    if (this.size > Math.max(this.compactBytes, 2 * this.compactedSize)) this.compact();
  }

  private take(line: Line): void {
    switch (line.t) {
      case 'h':
        this.epoch = line.epoch;
        this.sequence = BigInt(line.seq);
        this.refused = line.refused;
        this.dropped = line.dropped;
        this.counters.clear();
        this.outbox = [];
        for (const [p, [i, o, r]] of Object.entries(line.counters))
          this.counters.set(p, { ingressBytes: BigInt(i), egressBytes: BigInt(o), requests: BigInt(r) });
        return;
      case 'd': {
        const c = this.counters.get(line.p) ?? { ingressBytes: 0n, egressBytes: 0n, requests: 0n };
        c.ingressBytes += BigInt(line.i);
        c.egressBytes += BigInt(line.o);
        c.requests += BigInt(line.r);
        this.counters.set(line.p, c);
        return;
      }
      case 'e':
        this.outbox.push(line.e);
        this.sequence = BigInt(line.e.sequence);
        return;
      case 'a':
        this.outbox.splice(0, line.n);
        this.refused += line.refused ?? 0;
        this.dropped += line.dropped ?? 0;
        return;
      case 'f':
        this.counters.delete(line.p);
        return;
      default:
        throw new Error('unknown line');
    }
  }

  private load(): void {
    if (!existsSync(this.path)) return this.begin();
    const text = readFileSync(this.path);
    try {
      // Only whole lines count; a torn last one was never acknowledged to anybody.
      this.size = text.lastIndexOf(0x0a) + 1;
      const lines = text.subarray(0, this.size).toString('utf8').split('\n').slice(0, -1);
      if (lines.length === 0) throw new Error('empty');
      lines.forEach((line, index) => {
        const parsed = JSON.parse(line) as Line;
        if ((index === 0) !== (parsed.t === 'h')) throw new Error('header out of place');
        this.take(parsed);
      });
    } catch (error) {
      console.error('the journal is damaged; it is kept aside and a new epoch begins', error);
      renameSync(this.path, `${this.path}.damaged-${randomBytes(4).toString('hex')}`);
      this.counters.clear();
      this.outbox = [];
      this.sequence = 0n;
      this.refused = this.dropped = 0;
      return this.begin();
    }
    this.fd = openSync(this.path, 'r+');
    ftruncateSync(this.fd, this.size);
  }

  private begin(): void {
    this.epoch = randomBytes(6).toString('hex');
    this.compact();
  }

  /** Writes what is known now as a new file in place of the old one. */
  private compact(): void {
    const header: Line = {
      t: 'h',
      epoch: this.epoch,
      seq: this.sequence.toString(),
      refused: this.refused,
      dropped: this.dropped,
      counters: Object.fromEntries(
        [...this.counters].map(([p, c]) => [p, [c.ingressBytes.toString(), c.egressBytes.toString(), c.requests.toString()]]),
      ),
    };
    const text = Buffer.from([header, ...this.outbox.map((e): Line => ({ t: 'e', e }))].map((l) => `${JSON.stringify(l)}\n`).join(''));
    const temporary = `${this.path}.new`;
    const fd = openSync(temporary, 'w', 0o600);
    try {
      for (let at = 0; at < text.length;) at += writeSync(fd, text, at, text.length - at, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, this.path);
    syncFolder(dirname(this.path));
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = openSync(this.path, 'r+');
    this.size = this.compactedSize = text.length;
    this.dirty = false;
  }
}
