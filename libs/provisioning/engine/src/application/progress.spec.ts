import { describe, expect, it } from 'vitest';
import { stepAtWork } from './progress.js';

const line = (minute: number, step?: 'plan' | 'apply', failed?: true) => ({
  at: new Date(Date.UTC(2030, 0, 1, 0, minute)).toISOString(),
  phase: 'provisioning',
  message: 'words',
  ...(step ? { step } : {}),
  ...(failed ? { failed } : {}),
});
const minute = (log: ReturnType<typeof line>[]): number => stepAtWork(log, new Date(0)).since.getUTCMinutes();

describe('the step at work', () => {
  it('is none before the first, since the operation was made', () => {
    expect(stepAtWork([line(1)], new Date(0))).toEqual({ stepName: null, since: new Date(0), retrying: false });
  });

  it('counts from its own beginning, over its tries and over lines of no step', () => {
    expect(stepAtWork([line(1, 'plan'), line(2, 'apply'), line(3, 'apply', true), line(4)], new Date(0))).toMatchObject({
      stepName: 'apply',
      retrying: true,
    });
    expect(minute([line(1, 'plan'), line(2, 'apply'), line(3, 'apply', true), line(4)])).toBe(2);
  });

  it('begins anew when another step came in between', () => {
    expect(minute([line(1, 'apply'), line(2, 'plan'), line(3, 'apply')])).toBe(3);
    expect(stepAtWork([line(1, 'plan', true), line(2, 'apply')], new Date(0)).retrying).toBe(false);
  });
});
