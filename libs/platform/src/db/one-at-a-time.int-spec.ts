import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { openDatabase } from './database.js';

let base: TestDatabase;
beforeAll(async () => {
  base = await createTestDatabase();
});
afterAll(() => base?.drop());

describe('a transaction inside another one', () => {
  it('is refused where somebody watches, at once and not when the pool is at its end; what goes on after it is free', async () => {
    const watching = await openDatabase({ adminUrl: base.url(), secret: base.secret, poolSize: 8, assertions: true });
    try {
      const one = (): Promise<unknown> => watching.ops((tx) => tx.query('select 1'));
      let later: (() => Promise<unknown>) | undefined;
      const nestings = [
        one,
        () => watching.opsStatement('one', 'select 1', []),
        () => watching.tenant(randomUUID(), () => one()),
        () => watching.intakeOnce([], null, 'select 1', []),
        () => watching.intakeNamed([], null, (tx) => tx.query('select 1')),
      ];
      for (const nested of nestings)
        await expect(
          watching.ops(async (tx) => {
            await tx.query('select 1');
            return nested();
          }),
        ).rejects.toThrow('inside another one');
      await expect(watching.intakeNamed([], null, () => one())).rejects.toThrow('inside another one');
      await watching.ops(async (tx) => {
        await tx.query('select 1');
        const over = new Promise<void>((resolve) => tx.afterCommit(resolve));
        later = () => over.then(one);
      });
      await expect(later!()).resolves.toEqual([{ '?column?': 1 }]);
      await expect(Promise.all([one(), one()])).resolves.toHaveLength(2);
    } finally {
      await watching.close();
    }
  });
});
