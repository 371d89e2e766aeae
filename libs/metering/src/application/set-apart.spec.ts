import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { setApart } from './set-apart.js';

const ids = (n: number): string[] => Array.from({ length: n }, (_, i) => `p${i}`);

/** An attempt fails where one of `bad` is among them, else it does each once. */
function attempts(bad: ReadonlySet<string>): { done: string[]; attempt: (some: readonly string[]) => Promise<number> } {
  const done: string[] = [];
  return {
    done,
    attempt: (some) => {
      const culprit = some.find((id) => bad.has(id));
      if (culprit !== undefined) return Promise.reject(new Error(culprit));
      done.push(...some);
      return Promise.resolve(some.length);
    },
  };
}

describe('what fails as a whole', () => {
  it('is done for all but those that are in the way, each once, and these are named', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 60 }),
        fc.uniqueArray(fc.integer({ min: 0, max: 59 }), { maxLength: 16 }),
        async (n, which) => {
          const all = ids(n);
          const bad = new Set(which.map((i) => `p${i}`).filter((id) => all.includes(id)));
          const { done, attempt } = attempts(bad);
          const apart = await setApart(all, attempt);
          expect(done.sort()).toEqual(all.filter((id) => !bad.has(id)).sort());
          expect(apart.done).toBe(done.length);
          expect(new Map([...apart.culprits].map(([id, e]) => [id, (e as Error).message]))).toEqual(
            new Map([...bad].map((id) => [id, id])),
          );
        },
      ),
    );
  });

  it('is nobody’s in particular where more than sixteen fail', async () => {
    await expect(setApart(ids(40), attempts(new Set(ids(17))).attempt)).rejects.toThrow('p16');
  });

  it('is tried no further where the failure says nothing of the rows', async () => {
    let tried = 0;
    const deadlock = Object.assign(new Error('deadlock detected'), { code: '40P01' });
    await expect(setApart(ids(8), () => ((tried += 1), Promise.reject(deadlock)))).rejects.toBe(deadlock);
    expect(tried).toBe(1);
  });
});
