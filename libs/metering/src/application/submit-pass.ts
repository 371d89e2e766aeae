import { setTimeout as delay } from 'node:timers/promises';
import { realNow } from '#platform';
import type { Marketplace, MarketplaceAdapter } from '#marketplaces/core';
import type { DeadlineQueue } from '../domain/deadline-queue.js';
import { InFlight } from '../domain/in-flight.js';
import { WaveSize } from '../domain/wave-size.js';
import { giveBackUnsent } from '../infra/claims.sql.js';
import type { Gates } from '../infra/gates.sql.js';
import type { ClaimedBatch, ClaimWave } from './claim-wave.js';
import type { MeteringDeps } from './deps.js';
import type { SendBatch } from './send-batch.js';

/** Batches that one claim takes at most. */
const BATCHES_PER_CLAIM = 40;
/** Of one marketplace at once, while it answers; one that does not is asked with one at a time. */
const BATCHES_AT_ONCE = 4;
/** Answered calls whose outcome is not committed yet; more are not made before. */
const UNWRITTEN_AT_MOST = 2 * BATCHES_PER_CLAIM;
/** A longer wait for the next token is left to the next pass. */
const LONGEST_WAIT_MS = 2_000;
/** What is claimed is sent within this, or given back: its lease counts from there. */
const AHEAD_MS = 10_000;
/** A pass ends some time, so that what follows from it (a purchase that is settled) goes on. */
const PASS_MS = 20_000;

export interface PassDeps {
  deps: MeteringDeps;
  gates: Gates;
  turns: DeadlineQueue;
  claims: ClaimWave;
  sender: SendBatch;
}

/** A batch that is ours and not sent yet. `setbacks`: how many there were when its claim began; `until` is real time. */
interface Ready extends ClaimedBatch {
  setbacks: number;
  until: number;
}

/**
 * Sends what is due at one marketplace until nothing is. Claiming the next wave, calls, and writing answers go on side by side.
 * Where a call goes badly, what is claimed and not sent goes back, and the marketplace is asked with one batch at a time again.
 */
export class SubmitPass {
  private readonly adapter: MarketplaceAdapter;
  private readonly flight = new InFlight(BATCHES_AT_ONCE);
  private readonly size: WaveSize;
  private readonly writing = new Set<Promise<void>>();
  private readonly ends = performance.now() + PASS_MS;
  private ready: Ready[] = [];
  private claiming: Promise<void> | null = null;
  /** Nothing more could be claimed; what is under way may change that once it is written. */
  private idle = false;
  private pause: Promise<void> | null = null;
  private failure: { error: unknown } | null = null;
  private done = 0;

  constructor(
    private readonly with_: PassDeps,
    private readonly marketplace: Marketplace,
    private deadline: Date,
  ) {
    this.adapter = with_.deps.marketplaces.get(marketplace);
    const real = with_.deps.options?.realNow;
    this.size = new WaveSize(BATCHES_PER_CLAIM, real && (() => real().getTime()));
  }

  /** Answers how many items it sent or found unable to go. */
  async run(): Promise<number> {
    try {
      for (;;) {
        await this.start();
        this.claim();
        const under = [...this.writing, ...(this.claiming ? [this.claiming] : []), ...(this.pause ? [this.pause] : [])];
        if (this.flight.size + under.length === 0) break;
        await this.flight.untilOne(under);
        if (this.failure) throw this.failure.error;
      }
    } finally {
      await this.end();
    }
    return this.done;
  }

  /** As many as there is room for; what must not be sent any more goes back. */
  private async start(): Promise<void> {
    const stale = this.ready.filter((b) => b.setbacks !== this.flight.setbacks || !this.isInTime(b));
    if (stale.length > 0) {
      this.ready = this.ready.filter((b) => !stale.includes(b));
      await this.giveBack(stale);
    }
    while (this.ready.length > 0 && this.flight.free > 0 && this.writing.size < UNWRITTEN_AT_MOST) {
      const batch = this.ready.shift()!;
      this.flight.start(() => this.send(batch));
    }
  }

  private isInTime(batch: Ready): boolean {
    return +realNow() < batch.until && this.with_.deps.clock.now() < batch.hardAt;
  }

  private async send(batch: Ready): Promise<boolean> {
    const { well, written } = await this.with_.sender.run(batch.items);
    if (well) this.size.answered();
    const writing = written.then(this.stir, this.fail).finally(() => this.writing.delete(writing));
    this.writing.add(writing);
    // A crash must leave no more unknown than is under way, where a repeat is not safe.
    if (!this.adapter.usage.safeResend) await writing;
    return well;
  }

  private readonly stir = (): void => void (this.idle = false);
  private readonly fail = (error: unknown): void => void (this.failure ??= { error });

  /** The next wave, while there is something to send of this one. */
  private claim(): void {
    if (this.claiming || this.pause || this.idle || performance.now() > this.ends) return;
    const size = this.size.next(this.flight.room, this.flight.free, this.adapter.usage.safeResend) - this.ready.length;
    if (size < Math.max(1, this.ready.length)) return;
    this.claiming = this.claimWave(size)
      .catch(this.fail)
      .finally(() => (this.claiming = null));
  }

  private async claimWave(size: number): Promise<void> {
    const { deps, turns, claims } = this.with_;
    const { setbacks } = this.flight;
    // What is sent at once needs no time to wait.
    const aheadMs = this.ready.length + size > this.flight.free ? AHEAD_MS : 0;
    // What ends meanwhile may make more due.
    this.idle = true;
    const wave = await turns.run(this.deadline, () => deps.db.ops((tx) => claims.run(tx, this.adapter, size, aheadMs)));
    const until = +realNow() + AHEAD_MS;
    this.size.granted(wave.wanted, wave.batches.length);
    this.ready.push(...wave.batches.map((batch) => ({ ...batch, setbacks, until })));
    this.done += wave.batches.reduce((sum, { items }) => sum + items.length, 0);
    if (wave.batches.length > 0) this.deadline = wave.batches.at(-1)!.hardAt;
    if (wave.waitMs !== null) return this.pauseFor(wave.waitMs);
    // What cannot go (its bytes lack something, its gate was shut since we looked) is left out of the next look.
    const putBack = wave.batches.length === 0 && wave.found > 0;
    if (putBack) this.done += 1;
    if (putBack || wave.more) this.stir();
  }

  private pauseFor(ms: number): void {
    if (ms > LONGEST_WAIT_MS) return;
    this.pause = delay(ms).then(() => {
      this.pause = null;
      this.stir();
    });
  }

  private async giveBack(batches: Ready[]): Promise<void> {
    if (batches.length === 0) return;
    const { deps, gates, turns } = this.with_;
    this.done -= batches.reduce((sum, { items }) => sum + items.length, 0);
    await turns.run(batches[0]!.hardAt, () =>
      deps.db.ops(async (tx) => {
        const items = batches.map((b) => b.items);
        await giveBackUnsent(tx, deps.calls, items, 'the marketplace did not answer the one before', deps.clock.now());
        const probes = batches.filter((b) => b.admission !== 'yes').map((b) => b.items[0]!.gate);
        for (const gate of probes.sort()) await gates.unprobed(tx, this.marketplace, gate);
      }),
    );
    this.stir();
  }

  /** Nothing is under way any more; what was not sent goes back, or is lost with its lease where the database is away. */
  private async end(): Promise<void> {
    await this.claiming;
    await this.flight.untilNone().finally(() => Promise.all(this.writing));
    await this.giveBack(this.ready).catch(this.fail);
    if (this.failure) throw this.failure.error;
  }
}
