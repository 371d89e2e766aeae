import { describe, expect, it } from 'vitest';
import { problemAnswer } from './problem.filter.js';

const asked = { id: 'r1', url: '/api/v1/subscriptions', headers: {} };
const answerTo = (error: unknown): { status: number; code: string; again: string | undefined; logged: number } => {
  let logged = 0;
  const { status, headers, body } = problemAnswer(error, asked, { error: () => void (logged += 1) });
  return { status, code: (JSON.parse(body) as { code: string }).code, again: headers['retry-after'], logged };
};

describe('a failed request', () => {
  it('that lost to another transaction is asked to come again, and is logged', () => {
    const deadlock = Object.assign(new Error('deadlock detected'), { code: '40P01' });
    expect(answerTo(deadlock)).toEqual({ status: 503, code: 'database.busy', again: '5', logged: 1 });
  });

  it('that failed on our side tells nothing of why', () => {
    const taken = Object.assign(new Error('duplicate key value (secret)'), { code: '23505' });
    expect(answerTo(taken)).toEqual({ status: 500, code: 'internal', again: undefined, logged: 1 });
    expect(problemAnswer(taken, asked, { error: () => undefined }).body).not.toContain('secret');
  });
});
