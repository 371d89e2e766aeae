import type { DriverErrorShape } from '#provisioning/core';

/** Every step on the way to serving: whoever shows progress to a buyer has words for each. */
export const STEP_NAMES = ['preflight', 'plan', 'apply', 'configure', 'validate'] as const;
export type SetupStep = (typeof STEP_NAMES)[number];
/** And those of an operator's work on a cluster: another version, and its end when nobody is on it any more. */
export type StepName = SetupStep | 'upgrade' | 'delete' | 'sweep';

/**
 * What follows a failed driver call (contract provisioning §4.3):
 * `repeat`: the same operation id after a pause; `observe`: look first, then the same id; `replan`: the stored plan is
 * void; `renew`: the step is void, a new one is made; `regenerate`: the driver is ahead of our generation; `yield`: another
 * worker has taken over; `stop`: a person is needed.
 */
export type Reaction =
  { readonly do: 'repeat' | 'observe' | 'renew'; readonly delayMs: number } | { readonly do: 'replan' | 'regenerate' | 'yield' | 'stop' };

export interface RetryLimits {
  /** Pauses of one step before a person is asked. */
  readonly attempts: number;
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
}

/** Doubles up to the cap; `jitter` in [0, 1) spreads it over half of its length, so that a fleet does not return together. */
export function backoff(attempts: number, limits: RetryLimits, jitter: number): number {
  const full = Math.min(limits.maxDelayMs, limits.baseDelayMs * 2 ** Math.min(attempts, 20));
  return Math.round(full / 2 + (full / 2) * jitter);
}

export function reactionTo(error: DriverErrorShape, step: StepName, attempts: number, limits: RetryLimits, jitter: number): Reaction {
  if (error.code === 'driver.fenced') return { do: 'yield' };
  if (attempts >= limits.attempts) return { do: 'stop' };
  const delayMs = backoff(attempts, limits, jitter);
  switch (error.class) {
    case 'throttled':
      return { do: 'repeat', delayMs };
    case 'unknown':
      return { do: 'observe', delayMs };
    case 'conflict':
      if (error.code === 'driver.generation_stale') return { do: 'regenerate' };
      return step === 'apply' ? { do: 'replan' } : { do: 'renew', delayMs };
    case 'permission':
    case 'quota':
    case 'validation':
    case 'unsupported':
      return { do: 'stop' };
  }
}
