/**
 * Two clocks (architecture law 9). Business time is injected and may run ahead of real time in development;
 * leases, time-outs, rate buckets and signatures use real time.
 */
export interface Clock {
  /** Business time: real time plus the development offset. */
  now(): Date;
}

/** Injection token of the process's one `Clock`. */
export const CLOCK = Symbol('berth.clock');

/** Real time, for leases, time-outs, rate buckets and signatures only. */
export function realNow(): Date {
  return new Date();
}

/** Business clock = real time + offset, forward only, never frozen. Outside development the offset stays 0. */
export class OffsetClock implements Clock {
  private offsetMs = 0;
  private generation = 0;

  now(): Date {
    return new Date(Date.now() + this.offsetMs);
  }

  get offset(): { offsetMs: number; generation: number } {
    return { offsetMs: this.offsetMs, generation: this.generation };
  }

  /** Applies an offset of the clock's owner. A lower one is ignored: business time never goes back. */
  apply(offsetMs: number, generation: number): void {
    if (!Number.isFinite(offsetMs) || offsetMs < this.offsetMs) return;
    this.offsetMs = offsetMs;
    this.generation = Math.max(this.generation, generation);
  }
}
