import { describe, expect, it } from 'vitest';
import type { MonthHead, MonthPiece } from '#metering';
import { monthCsv, monthJson } from './month-view.js';

const head: MonthHead = { month: '2026-03', state: 'final', because: [], moneyExpectedBy: new Date('2026-05-16T00:00:00Z') };
const finding = (kind: string): MonthPiece => ({ section: 'findings', rows: [{ kind, open: 1, settled: 2 }] });
async function* given(...pieces: MonthPiece[]): AsyncGenerator<MonthPiece> {
  yield* pieces;
}
const all = async (text: AsyncIterable<string>): Promise<string> => {
  let whole = '';
  for await (const piece of text) whole += piece;
  return whole;
};

describe('a month in pieces', () => {
  it('is one JSON object with every section, whatever comes of them and in however many pieces', async () => {
    const empty = { month: '2026-03', state: 'final', because: [], moneyExpectedBy: '2026-05-16T00:00:00.000Z' };
    const none = { units: [], money: [], payouts: [], findings: [] };
    expect(JSON.parse(await all(monthJson(head, given())))).toEqual({ ...empty, ...none });
    expect(JSON.parse(await all(monthJson(head, given({ section: 'units', rows: [] }, { section: 'payouts', rows: [] }))))).toEqual({
      ...empty,
      ...none,
    });
    expect(JSON.parse(await all(monthJson(head, given(finding('a'), finding('b')))))).toEqual({
      ...empty,
      ...none,
      findings: [
        { kind: 'a', open: 1, settled: 2 },
        { kind: 'b', open: 1, settled: 2 },
      ],
    });
  });

  it('is a line a figure as CSV', async () => {
    expect((await all(monthCsv(head, given(finding('a'))))).split('\r\n').slice(1, 4)).toEqual([
      'month,,,,,,,,month,2026-03,',
      'month,,,,,,,,state,final,',
      'findings,,,,,,,,a,1,2 settled',
    ]);
  });
});
