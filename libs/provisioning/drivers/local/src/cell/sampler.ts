/**
 * Takes samples at aligned instants of business time and puts them into the outbox, each set closed by a watermark:
 * "everything up to `through` is in". Suspended placements are sampled too (their bytes are still held); closed ones
 * are not: their last sample was taken when they were closed.
 */
import type { LastSample } from '#provisioning/core';
import type { CellEvent } from '../wire.js';
import type { Journal } from './journal.js';
import type { QuotaGate } from './quota.js';
import type { Tenants } from './tenants.js';

export interface SamplerParts {
  readonly cellId: string;
  readonly periodMs: number;
  readonly now: () => Date;
  readonly tenants: Tenants;
  readonly journal: Journal;
  readonly quota: QuotaGate;
  /** Puts into the journal what running transfers have moved. */
  readonly flushTransfers: () => void;
  readonly onTimer: () => void;
}

/** More than this in one jump of the clock: only the newest are taken. */
const MAX_CATCH_UP = 2016;

export class Sampler {
  lastSampleAt: Date | null = null;
  /** Aligned instants up to here are done. */
  private doneMs: number;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly parts: SamplerParts) {
    // What passed while the cell was down is a gap, and stays one: nobody knows what the values were.
    this.doneMs = this.floor(parts.now().getTime());
  }

  /** Starts the timer, or sets it anew after the clock has moved. */
  arm(): void {
    clearTimeout(this.timer);
    const wait = this.doneMs + this.parts.periodMs - this.parts.now().getTime();
    this.timer = setTimeout(
      () => {
        this.parts.onTimer();
        this.arm();
      },
      Math.min(Math.max(wait, 0) + 1, 60_000),
    ).unref();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  /**
   * Takes what has become due. After a jump of the clock (`jumped`) each aligned instant in between is taken: no real
   * time has passed, so today's values are those of all of them. Otherwise only the newest: the process was held up.
   */
  takeDue(jumped: boolean): number {
    const { periodMs } = this.parts;
    const last = this.floor(this.parts.now().getTime());
    const due = Math.floor((last - this.doneMs) / periodMs);
    if (due <= 0) return 0;
    const count = jumped ? Math.min(due, MAX_CATCH_UP) : 1;
    for (let i = count - 1; i >= 0; i -= 1) this.take(new Date(last - i * periodMs));
    this.doneMs = last;
    return count;
  }

  /** A sample of the given placements (default: all listed) at this instant. Returns the sequence of the watermark. */
  take(at: Date, placementIds?: readonly string[]): bigint {
    const { tenants, journal, quota, cellId } = this.parts;
    this.parts.flushTransfers();
    const listed = tenants.desired.placements.filter((p) => placementIds?.includes(p.placementId) ?? true);
    if (listed.length === 0) return journal.sequence;
    const time = at.toISOString();
    const events: CellEvent[] = [];
    let sequence = journal.sequence;
    const event = (type: CellEvent['type'], data: CellEvent['data'], subject?: string): void => {
      events.push({
        specversion: '1.0',
        id: `${cellId}.${journal.epoch}.${sequence}`,
        source: `/cells/${cellId}`,
        type,
        time,
        ...(subject ? { subject } : {}),
        sequence: sequence.toString(),
        datacontenttype: 'application/json',
        data,
      });
    };
    for (const p of listed) {
      const counters = journal.of(p.placementId);
      const metrics: readonly [string, string, bigint][] = [
        ['stored_bytes', 'gauge', quota.read(p.accountName)],
        ['egress_bytes', 'counter', counters.egressBytes],
        ['ingress_bytes', 'counter', counters.ingressBytes],
        ['requests', 'counter', counters.requests],
      ];
      for (const [metric, kind, value] of metrics) {
        sequence += 1n;
        event('berth.sample.v1', { metric, kind, value: value.toString(), epoch: journal.epoch }, p.placementId);
      }
    }
    sequence += 1n;
    event('berth.watermark.v1', { through: time, sequence: sequence.toString() });
    journal.enqueue(events);
    this.lastSampleAt = at;
    return sequence;
  }

  /** The end of a placement's usage; access must have ended. */
  takeLast(placementId: string): LastSample {
    const at = this.parts.now();
    const sequence = this.take(at, [placementId]);
    return { placementId, at: at.toISOString(), sequence: sequence.toString(), acknowledged: false };
  }

  private floor(ms: number): number {
    return Math.floor(ms / this.parts.periodMs) * this.parts.periodMs;
  }
}
