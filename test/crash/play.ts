import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { createTestDatabase } from '../support/database.js';

interface Struck {
  change: string;
  step: string;
  moment: string;
  at: string;
  problems: string[];
  well: boolean;
}

/** Plays a short form in a process of its own, on a database of its own. */
export async function play<T>(what: object): Promise<T> {
  const database = await createTestDatabase();
  try {
    const env = { ...process.env, CRASH_SHORT: JSON.stringify({ databaseUrl: database.url(), secret: database.secret, ...what }) };
    const { stdout } = await promisify(execFile)(process.execPath, [join(projectRoot(), 'crash/short.mjs')], { env });
    return JSON.parse(stdout) as T;
  } finally {
    await database.drop();
  }
}

interface Played {
  chosen: string[];
  rows: Struck[];
  dataDir: string;
}

/** `BERTH_CRASH_SEED` strikes at other moments. */
const SEED = Number(process.env['BERTH_CRASH_SEED'] ?? 1);

/**
 * Tests of one life of the short form of `npm run crash-matrix`: each step of each change is struck once. `life` picks the moments.
 */
export function itSurvives(driver: 'local' | 'terraform', life: number): void {
  let played: Played;
  beforeAll(async () => {
    played = await play<Played>({ driver, life, seed: SEED });
  }, 300_000);

  it('is made, changed and taken down all the same: one cluster, the same data, and in the end nothing', () => {
    expect(played.rows.filter((row) => !row.well)).toEqual([]);
    expect(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })).not.toContain(played.dataDir);
  });

  it('was struck in every step, at the moment that was chosen', () => {
    expect(played.rows.map(({ change, step, moment }) => `${change}/${step}/${moment}`).sort()).toEqual([...played.chosen].sort());
    expect(played.rows.filter((row) => row.at === '')).toEqual([]);
  });
}
