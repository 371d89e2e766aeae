import { describe, expect, it } from 'vitest';
import { backoff, reactionTo } from './retry.js';

const limits = { attempts: 3, baseDelayMs: 100, maxDelayMs: 1_000 };
const error = (errorClass: Parameters<typeof reactionTo>[0]['class'], code = 'x.y') => ({ class: errorClass, code, detail: '' });

describe('what follows a failed driver call', () => {
  it.each(['permission', 'quota', 'validation', 'unsupported'] as const)('stops for a person on %s', (errorClass) => {
    expect(reactionTo(error(errorClass), 'apply', 0, limits, 0)).toEqual({ do: 'stop' });
  });

  it('looks before it repeats what may have happened', () => {
    expect(reactionTo(error('unknown'), 'apply', 1, limits, 1)).toEqual({ do: 'observe', delayMs: 200 });
  });

  it('plans again when the plan no longer fits, and only for an apply', () => {
    expect(reactionTo(error('conflict', 'plan.stale'), 'apply', 0, limits, 0)).toEqual({ do: 'replan' });
    expect(reactionTo(error('conflict', 'driver.operation_reused'), 'configure', 0, limits, 0)).toMatchObject({ do: 'renew' });
  });

  it('gives way to a worker that has taken over, however often it has tried', () => {
    expect(reactionTo(error('conflict', 'driver.fenced'), 'configure', 99, limits, 0)).toEqual({ do: 'yield' });
  });

  it('asks a person in the end', () => {
    expect(reactionTo(error('throttled'), 'configure', 2, limits, 0)).toMatchObject({ do: 'repeat' });
    expect(reactionTo(error('throttled'), 'configure', 3, limits, 0)).toEqual({ do: 'stop' });
  });

  it('backs off up to the cap, spread over half of it', () => {
    expect([backoff(0, limits, 0), backoff(0, limits, 1), backoff(1, limits, 1), backoff(30, limits, 0), backoff(30, limits, 1)]).toEqual([
      50, 100, 200, 500, 1_000,
    ]);
  });
});
