import { describe, expect, it } from 'vitest';
import { fromPublicId, isUuid, timedIds, toPublicId, uuidv5, uuidv7 } from './ids.js';
import { PROBLEM_STATUS, ProblemError } from './problem.js';

describe('ids', () => {
  it('made in the app are version 7, carry the time first and never repeat', () => {
    const before = Date.now();
    const ids = Array.from({ length: 2_000 }, uuidv7);
    expect(new Set(ids).size).toBe(2_000);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const time = parseInt(ids[0]!.replace('-', '').slice(0, 12), 16);
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(Date.now());
  });

  it('made of names are version 5, always the same, and do not run two names together', () => {
    // Ids are stored: another way to the same name must lead to the same one.
    expect(uuidv5('subscription', 'azure', 'x')).toBe('9b9f17d6-8f71-5ffc-80dd-27968eff240c');
    expect(uuidv5('subscription', 'azure', 'x')).toBe(uuidv5('subscription', 'azure', 'x'));
    expect(uuidv5('a', 'bc')).not.toBe(uuidv5('ab', 'c'));
    expect(isUuid(uuidv5('a'))).toBe(true);
  });

  it('are the same in every release: stored rows name them', () => {
    expect(uuidv5('subscription', 'azure', '5b0f7a52-0000-4000-8000-000000000001')).toBe('0eebdf67-808e-531f-8918-ecadd18da48e');
    // However long a name is, and whatever was named before.
    expect(uuidv5('ü'.repeat(5_000))).toBe('c6ed72e0-c7ad-538d-ab0c-1561049795fc');
    expect(uuidv5('subscription', 'azure', 'x')).toBe('9b9f17d6-8f71-5ffc-80dd-27968eff240c');
  });

  it('of an hour begin with it, are two of one name, and the same in every release', () => {
    const at = Date.parse('2026-11-20T10:00:00Z');
    const [first, second] = timedIds(at, 'usage-record', 'a', 'b');
    expect([first, second]).toEqual(timedIds(at, 'usage-record', 'a', 'b'));
    for (const id of [first, second]) {
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(parseInt(id.replace('-', '').slice(0, 12), 16)).toBe(at);
    }
    const others = [
      timedIds(at, 'usage-record', 'ab', ''),
      timedIds(at + 3_600_000, 'usage-record', 'a', 'b'),
      timedIds(at, 'x', 'a', 'b'),
    ];
    expect(new Set([first, second, ...others.flat()]).size).toBe(8);
    expect(others[1]!.every((later) => later > first && later > second)).toBe(true);
    expect([first, second]).toEqual(['01a1f866-0d00-8fee-babb-7176c277d671', '01a1f866-0d00-8255-845f-44a182bc38f3']);
  });

  it('at the edge carry a prefix, and only the right one comes back', () => {
    const id = uuidv7();
    expect(fromPublicId('sub', toPublicId('sub', id))).toBe(id);
    for (const text of [id, `ten_${id}`, 'sub_', `sub_${id.toUpperCase()}`, `sub_${id}0`, `sub_${id}\n`]) {
      expect(() => fromPublicId('sub', text)).toThrow(expect.objectContaining({ code: 'id.malformed', status: 404 }));
    }
  });
});

describe('a problem', () => {
  it('has one HTTP status per kind', () => {
    expect(Object.values(PROBLEM_STATUS).every((status) => status >= 400 && status < 600)).toBe(true);
    expect(new ProblemError('gone', 'landing.session_expired', 'Over.').status).toBe(410);
  });

  it('becomes a document whose own fields no extra can overwrite', () => {
    const problem = new ProblemError('validation', 'landing.details_invalid', 'Wrong.', { errors: [1], status: 200, code: 'fine' });
    expect(problem.toDocument('/x')).toEqual({
      type: 'https://berth.example/problems/landing.details_invalid',
      title: 'landing.details_invalid',
      status: 400,
      code: 'landing.details_invalid',
      detail: 'Wrong.',
      instance: '/x',
      errors: [1],
    });
  });
});
