import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { differences } from '../../crash/count.mjs';
import { itSurvives, play } from './play.js';

// One life, struck in every step; the matrix (`npm run crash-matrix`) strikes all of them at each moment.
describe('a cell whose control planes are killed in every step of its life', () => itSurvives('local', 0));

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
      mkdirSync(join(dataDir, 'terraform', 'work', 'stray.write.1.x'), { recursive: true });
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
