/** The sandbox's control surface: the clock, the faults, what was asked and what is billed. */
import { HttpError, JsonClient } from './support/http.js';
import { sleep } from './support/wait.js';

export interface ClockState {
  offsetMs: number;
  generation: number;
  now: string;
  participants: { name: string; order: number }[];
}

export interface Advanced {
  now: string;
  steps: number;
  lost: string[];
}

export interface Call {
  sequence: number;
  at: string;
  marketplace: string;
  operation: string;
  status: number | null;
  request: { body: unknown } | null;
  inFlight: boolean;
  fault?: string;
  unanswered?: boolean;
}

export interface Billed {
  marketplace: string;
  externalId: string;
  planId: string;
  dimension: string;
  hour: string;
  quantity: string;
  receipt: string;
}

/** Cells take a sample at least this often in business time. */
export const SAMPLING_STEP_SECONDS = 300;
const BUSY_FOR_MS = 90_000;

export class Sandbox {
  readonly http: JsonClient;

  constructor(url: string) {
    this.http = new JsonClient(url);
  }

  clock(): Promise<ClockState> {
    return this.http.get('/sandbox/clock');
  }

  async now(): Promise<Date> {
    return new Date((await this.clock()).now);
  }

  /** Moves business time on; resolves when every participant has done what became due. Another advance under way is waited for. */
  async advance(seconds: number, stepSeconds = SAMPLING_STEP_SECONDS): Promise<Advanced> {
    const limit = performance.now() + BUSY_FOR_MS;
    for (;;) {
      try {
        return await this.http.post<Advanced>('/sandbox/clock/advance', { seconds, stepSeconds }, 280_000);
      } catch (error) {
        if (!(error instanceof HttpError && error.code === 'clock.busy') || performance.now() > limit) throw error;
        await sleep(250);
      }
    }
  }

  /** To an instant of business time, in sampling steps; nothing happens if it has passed. */
  async advanceTo(instant: Date): Promise<Advanced> {
    const seconds = (instant.getTime() - (await this.now()).getTime()) / 1000;
    return seconds > 0 ? this.advance(seconds) : { now: (await this.clock()).now, steps: 0, lost: [] };
  }

  addFault(fault: { marketplace: string; operation: string; kind: string; delayMs?: number; times?: number }): Promise<unknown> {
    return this.http.post('/sandbox/faults', fault);
  }

  clearFaults(): Promise<void> {
    return this.http.delete('/sandbox/faults');
  }

  async calls(query: { marketplace?: string; operation?: string; since?: string | number; limit?: number } = {}): Promise<Call[]> {
    const q = Object.entries(query)
      .map(([k, v]) => `${k}=${encodeURIComponent(String(v))}`)
      .join('&');
    return (await this.http.get<{ items: Call[] }>(`/sandbox/calls?${q}`)).items;
  }

  async billed(marketplace: string, externalId?: string): Promise<Billed[]> {
    const q = externalId ? `&externalId=${encodeURIComponent(externalId)}` : '';
    return (await this.http.get<{ items: Billed[] }>(`/sandbox/billed?marketplace=${marketplace}${q}`)).items;
  }

  settings<T>(): Promise<T> {
    return this.http.get('/sandbox/settings');
  }

  setSettings(change: object): Promise<unknown> {
    return this.http.put('/sandbox/settings', change);
  }
}
