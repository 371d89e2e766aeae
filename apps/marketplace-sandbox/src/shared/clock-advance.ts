import type { VirtualClock } from './clock.js';
import type { Store, Table } from './store.js';

export interface Participant {
  name: string;
  url: string;
  token: string;
  order: number;
}

export interface AdvanceResult {
  offsetMs: number;
  generation: number;
  now: string;
  steps: number;
  lost: string[];
}

export class ClockBusyError extends Error {}

export class ClockNotSettledError extends Error {
  constructor(
    readonly stillWorking: string[],
    readonly lost: string[],
  ) {
    super(`The clock has not settled: ${stillWorking.join(', ')} still worked when the time was up.`);
  }
}

const SANDBOX = 'marketplace-sandbox';
/** How long anyone asked may take at the least: who is asked just before the time is up is not blamed for it. */
const FAIR_WAIT_MS = 500;

/** Moves every participant on in steps; each step ends when nobody has anything left to do. */
export class ClockAdvancer {
  readonly participants: Table<Participant>;
  private busy = false;

  constructor(
    private readonly clock: VirtualClock,
    store: Store,
    /** The sandbox's own due work; answers whether there was any. */
    private readonly runDue: () => Promise<boolean>,
    private readonly settleLimitMs = 60_000,
  ) {
    this.participants = store.table<Participant>('participants');
  }

  get advancing(): boolean {
    return this.busy;
  }

  async advance(seconds: number, stepSeconds: number): Promise<AdvanceResult> {
    if (this.busy) throw new ClockBusyError('An advance is under way.');
    this.busy = true;
    const lost = new Set<string>();
    try {
      let left = seconds * 1000;
      let steps = 0;
      while (left > 0) {
        const byMs = Math.min(left, stepSeconds * 1000);
        await this.step(byMs, lost);
        left -= byMs;
        steps += 1;
      }
      return {
        offsetMs: this.clock.offsetMs,
        generation: this.clock.generation,
        now: this.clock.now().toISOString(),
        steps,
        lost: [...lost],
      };
    } finally {
      this.busy = false;
    }
  }

  private ordered(): Participant[] {
    return this.participants.values().sort((a, b) => a.order - b.order || a.name.localeCompare(b.name));
  }

  private async step(byMs: number, lost: Set<string>): Promise<void> {
    this.clock.step(byMs);
    const deadline = performance.now() + this.settleLimitMs;
    const { offsetMs, generation } = this.clock;
    const unset = await Promise.all(
      this.ordered().map(async (one) => {
        const answer = await this.untilAnswered(one, { phase: 'set', offsetMs, generation }, deadline, lost);
        return answer === 'late' ? one.name : undefined;
      }),
    );
    const late = unset.filter((name) => name !== undefined);
    if (late.length) throw new ClockNotSettledError(late, [...lost]);
    let lastRound: string[] = [];
    for (;;) {
      const working: string[] = [];
      for (const one of this.ordered()) {
        const answer = await this.untilAnswered(one, { phase: 'settle', generation }, deadline, lost);
        if (answer === 'late' || (answer !== 'lost' && answer.worked)) working.push(one.name);
        if (performance.now() > deadline)
          throw new ClockNotSettledError([working, lastRound, [one.name]].find((names) => names.length) ?? [], [...lost]);
      }
      if (await this.runDue()) working.push(SANDBOX);
      if (working.length === 0) return;
      if (performance.now() > deadline) throw new ClockNotSettledError(working, [...lost]);
      // The time may be up right after a calm participant's answer: then these are the ones to name.
      lastRound = working;
    }
  }

  /** An error answer is asked again until the time is up; a refused or broken connection is a lost participant. */
  private async untilAnswered(
    one: Participant,
    body: object,
    deadline: number,
    lost: Set<string>,
  ): Promise<{ worked: boolean } | 'late' | 'lost'> {
    const until = Math.max(deadline, performance.now() + FAIR_WAIT_MS);
    for (;;) {
      const left = until - performance.now();
      if (left <= 0) return 'late';
      try {
        const response = await fetch(one.url, {
          method: 'POST',
          headers: { authorization: `Bearer ${one.token}`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
          redirect: 'error',
          signal: AbortSignal.timeout(Math.ceil(left)),
        });
        const text = await response.text();
        if (response.ok) return { worked: (JSON.parse(text || '{}') as { worked?: unknown }).worked === true };
      } catch (error) {
        if (error instanceof SyntaxError) return { worked: true };
        if ((error as Error).name === 'TimeoutError') return 'late';
        // It may have registered anew, with another address, while we were asking the old one.
        if (this.participants.get(one.name)?.url === one.url) this.participants.delete(one.name);
        lost.add(one.name);
        return 'lost';
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(250, Math.max(1, until - performance.now()))));
    }
  }
}
