import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { berth } from './support.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-cli-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PURCHASE = '7c9f3a10-5d2b-5c41-8a6e-0d4b7c1e2f33';
/** A journal with one record of a purchase of which nothing else is told, so that no build can make the record again. */
function journal(name: string, spoil: (lines: string[]) => string[] = (l) => l): string {
  const lines = [
    { line: 'header', format: 1, build: 'berth 0', from: '1773136800000000', to: '1773140400000000', catalogHash: '', leftOut: 0 },
    {
      line: 'record',
      subscriptionId: PURCHASE,
      marketplace: 'azure',
      meter: 'mib_egress',
      segmentId: PURCHASE,
      dimension: 'egress',
      hour: '1773136800000000',
      baseQuantity: '2097152',
      quantity: '2',
      decimals: 0,
      listedUnit: 'MiB',
      basePerUnit: '1048576',
      planVersionId: PURCHASE,
      externalPlanId: 'gold',
      startsAt: '1773136800000000',
      endsAt: '1773140400000000',
      quality: 'measured',
    },
    { line: 'purchase', subscriptionId: PURCHASE, hash: 'of it' },
  ].map((l) => JSON.stringify(l));
  const sha256 = createHash('sha256')
    .update(`${lines.join('\n')}\n`)
    .digest('hex');
  const footer = JSON.stringify({ line: 'footer', lines: lines.length, sha256, ledgerHash: 'of all' });
  const file = join(folder, name);
  writeFileSync(file, `${spoil([...lines, footer]).join('\n')}\n`);
  return file;
}

describe('berth billing-diff and replay', () => {
  it('end with 2 where a record would change, and show it', async () => {
    const said = await berth(['billing-diff', '--from', journal('whole.ndjson')], {});
    expect(said.out).toContain('1 of 1 records would change (0 then)');
    expect(said.out).toMatch(new RegExp(`sub_${PURCHASE} +egress +2026-03-10T10:00Z +2 MiB +- +price unknown`));
    expect(said.code).toBe(2);
  });

  it('end with 1 and a stable code where the journal is refused', async () => {
    const cut = await berth(['billing-diff', '--from', journal('cut.ndjson', (l) => l.slice(0, -1))], {});
    expect([cut.code, cut.errors.includes('(journal.cut)')]).toEqual([1, true]);
    const changed = await berth(['replay', '--from', journal('changed.ndjson', (l) => l.with(1, l[1]!.replace('"2"', '"3"')))], {});
    expect([changed.code, changed.errors.includes('(journal.changed)'), changed.out]).toEqual([1, true, '']);
  });

  it('tell a wrong question from a change', async () => {
    expect((await berth(['billing-diff'], {})).code).toBe(1);
    expect((await berth(['replay'], {})).code).toBe(2);
    const nowhere = await berth(['journal', '--out', join(folder, 'x')], { BERTH_DATA: join(folder, 'nothing') });
    expect([nowhere.code, nowhere.errors.includes('no installation is found')]).toEqual([2, true]);
  });
});
