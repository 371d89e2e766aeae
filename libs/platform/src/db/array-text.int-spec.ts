import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { arrayText } from './array-text.js';

describe('values as the text of an array', () => {
  let base: TestDatabase;
  let client: pg.Client;
  beforeAll(async () => {
    base = await createTestDatabase();
    client = new pg.Client({ connectionString: base.url() });
    await client.connect();
  });
  afterAll(async () => {
    await client?.end();
    await base?.drop();
  });

  it('are read back by the database as they were, whatever they hold', async () => {
    const text = fc.oneof(
      fc.constantFrom('', 'null', 'NULL', '{}', '{a,b}', ' a ', 'a,b', '"', '\\', '\\"', "'", '\n', 'ü', '2026-03-10T00:00:00.000000Z'),
      fc.string({ unit: 'grapheme' }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(text), { maxLength: 8 }), async (values) => {
        const { rows } = await client.query<{ values: (string | null)[] }>('select $1::text[] as values', [arrayText(values)]);
        expect(rows[0]!.values).toEqual(values);
      }),
      { numRuns: 200 },
    );
  });

  it('may be numbers and truths', async () => {
    const { rows } = await client.query('select $1::numeric[] as n, $2::boolean[] as b, $3::int[] as i', [
      arrayText([2n ** 100n, 0n]),
      arrayText([true, false, null]),
      arrayText([-1, 7]),
    ]);
    expect(rows[0]).toMatchObject({ b: [true, false, null], i: [-1, 7] });
    expect(String(rows[0].n)).toBe(String([Number(2n ** 100n), 0]));
  });
});
