import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { differences } from '../../crash/count.mjs';
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
async function play<T>(what: object): Promise<T> {
  const database = await createTestDatabase();
  try {
    const env = { ...process.env, CRASH_SHORT: JSON.stringify({ databaseUrl: database.url(), secret: database.secret, ...what }) };
    const { stdout } = await promisify(execFile)(process.execPath, [join(projectRoot(), 'crash/short.mjs')], { env });
    return JSON.parse(stdout) as T;
  } finally {
    await database.drop();
  }
}

// The short form of `npm run crash-matrix`: one life of a cell, struck in each change of the machine and at each kind of moment.
let played: { chosen: string[]; rows: Struck[]; dataDir: string };
beforeAll(async () => {
  played = await play({});
}, 120_000);

describe('a cluster whose control planes are killed in the middle of its life', () => {
  it('is made, changed and taken down all the same: one cell, the same data, and in the end nothing', () => {
    expect(played.rows.filter((row) => !row.well)).toEqual([]);
    expect(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })).not.toContain(played.dataDir);
  });

  it('was struck at every moment that was chosen', () => {
    expect(played.rows.map(({ change, step, moment }) => `${change}/${step}/${moment}`).sort()).toEqual([...played.chosen].sort());
    expect(played.rows.filter((row) => row.at === '')).toEqual([]);
  });
});

describe('tenants on a few shared cells', () => {
  it('are made, changed and removed in one run: one account each while they are there, and nothing afterwards', async () => {
    const { code, said } = await play<{ code: number; said: string[] }>({ tenants: 12, perCell: 6 });
    expect({ code, failed: said.filter((line) => line.startsWith('FAIL')) }).toEqual({ code: 0, failed: [] });
    expect(said.join()).toContain('12 tenants on 2 cells');
  }, 120_000);
});

describe('the count of the machine', () => {
  it('turns red over a cell too many, a folder, an account and a run that is left', () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'berth-count-'));
    try {
      const none = { local: {}, terraform: {} };
      expect(differences(dataDir, none)).toEqual([]);
      const cells = join(dataDir, 'cells/cells');
      mkdirSync(join(cells, 'stray'), { recursive: true });
      writeFileSync(join(cells, 'stray/desired.json'), JSON.stringify({ accounts: { p1: 'acc1', p2: 'acc2' } }));
      mkdirSync(join(dataDir, 'terraform/work/stray.write.1.x'), { recursive: true });
      const found = (expected: Parameters<typeof differences>[1]) => differences(dataDir, expected).map((text) => text.split(':')[0]);
      expect(found(none)).toEqual(['folders of local', 'folders of terraform runs']);
      expect(found({ local: { stray: ['acc1'] }, terraform: {} })).toEqual([
        'processes of cells',
        'accounts of stray',
        'folders of terraform runs',
      ]);
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});
