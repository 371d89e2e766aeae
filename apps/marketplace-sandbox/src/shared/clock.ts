import type { Store, Table } from './store.js';

interface ClockState {
  offsetMs: number;
  generation: number;
}

/** Real time plus an offset that only grows (docs/guides/clock-protocol.md). This process owns the offset. */
export class VirtualClock {
  private readonly table: Table<ClockState>;

  constructor(store: Store) {
    this.table = store.table<ClockState>('clock');
  }

  private get state(): ClockState {
    return this.table.get('state') ?? { offsetMs: 0, generation: 0 };
  }

  get offsetMs(): number {
    return this.state.offsetMs;
  }

  get generation(): number {
    return this.state.generation;
  }

  nowMs(): number {
    return Date.now() + this.offsetMs;
  }

  now(): Date {
    return new Date(this.nowMs());
  }

  step(byMs: number): void {
    const { offsetMs, generation } = this.state;
    this.table.put('state', { offsetMs: offsetMs + byMs, generation: generation + 1 });
  }
}

export const SECOND = 1000;
export const HOUR = 3600 * SECOND;
export const DAY = 24 * HOUR;
