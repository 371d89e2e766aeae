import { describe, expect, it } from 'vitest';
import { compareRecords, sumChanges } from './billing-diff.js';
import { checkJournal, JOURNAL_FORMAT, JournalSeal, parseLine, type JournalHeader, type JournalLine, type RecordFacts } from './journal.js';

const HEADER: JournalHeader = {
  line: 'header',
  format: JOURNAL_FORMAT,
  build: 'berth 1',
  from: '0',
  to: '3600000000',
  catalogHash: 'c',
  leftOut: 0,
};
const LINES: JournalLine[] = [
  HEADER,
  { line: 'emission', marketplace: 'azure', externalOfferId: 'o', from: '0', emission: 'live' },
  { line: 'purchase', subscriptionId: 's1', hash: 'h' },
];

function written(lines: JournalLine[] = LINES): string[] {
  const seal = new JournalSeal();
  const texts = lines.map((l) => JSON.stringify(l));
  for (const text of texts) seal.add(text);
  return [...texts, JSON.stringify(seal.footer('the ledger'))];
}
const checked = (lines: string[]): ReturnType<typeof checkJournal> =>
  checkJournal(
    (async function* () {
      yield* await Promise.resolve(lines);
    })(),
  );

describe('a journal', () => {
  it('reads as it was written, with its first and last line', async () => {
    const { header, footer } = await checked(written());
    expect(header).toEqual(HEADER);
    expect(footer).toMatchObject({ lines: 3, ledgerHash: 'the ledger' });
    expect(written().slice(0, -1).map(parseLine)).toEqual(LINES);
  });

  it('of the first format is read, too', async () => {
    const first = { ...HEADER, format: 1 };
    expect((await checked(written([first, ...LINES.slice(1)]))).header).toEqual(first);
  });

  it.each<[string, string, (lines: string[]) => string[]]>([
    ['that lost its last line', 'journal.cut', (l) => l.slice(0, -1)],
    ['that lost a line in the middle', 'journal.cut', (l) => l.toSpliced(1, 1)],
    ['with a line twice', 'journal.cut', (l) => l.toSpliced(1, 0, l[1]!)],
    ['with a changed line', 'journal.changed', (l) => l.with(1, l[1]!.replace('live', 'none'))],
    ['with two lines exchanged', 'journal.changed', (l) => l.with(1, l[2]!).with(2, l[1]!)],
    ['whose last line was broken off', 'journal.cut', (l) => l.with(-1, l.at(-1)!.slice(0, -5))],
    ['that goes on after its last line', 'journal.changed', (l) => [...l, l[1]!]],
    ['of another format', 'journal.other_version', (l) => l.with(0, l[0]!.replace(`"format":${JOURNAL_FORMAT}`, '"format":99'))],
    ['that is empty', 'journal.not_a_journal', () => []],
    ['that is some other file', 'journal.not_a_journal', () => ['placement,hour,value', '1,2,3']],
    ['that is some other JSON', 'journal.not_a_journal', () => ['null']],
  ])('%s is refused as %s', async (_, code, spoil) => {
    await expect(checked(spoil(written()))).rejects.toMatchObject({ code });
  });
});

const record = (over: Partial<RecordFacts>): RecordFacts => ({
  subscriptionId: 's1',
  marketplace: 'azure',
  meter: 'm',
  segmentId: 'g1',
  dimension: 'egress',
  hour: '3600000000',
  baseQuantity: '10',
  quantity: '1.5',
  decimals: 1,
  listedUnit: 'MiB',
  basePerUnit: '10',
  planVersionId: 'p1',
  externalPlanId: 'gold',
  startsAt: '3600000000',
  endsAt: '7200000000',
  quality: 'measured',
  ...over,
});
const dollars = (each: bigint) => (r: RecordFacts) =>
  r.dimension === 'free' ? null : { currency: 'USD', amount: (BigInt(r.quantity.split('.')[0]!) * each).toString() };

describe('the difference of two sets of records', () => {
  it('is nothing where the same is told, whatever the version of the plan', () => {
    expect(compareRecords([record({})], [record({ planVersionId: 'p2', baseQuantity: '11' })], dollars(2n))).toEqual([]);
  });

  it('names what is more, less, new and gone, with exact sums in each unit and currency, and money only where a price is known', () => {
    const before = [record({ quantity: '3' }), record({ hour: '7200000000', quantity: '0.25' }), record({ dimension: 'free' })];
    const after = [record({ quantity: '5' }), record({ hour: '9', quantity: '7' }), record({ dimension: 'free', quantity: '2' })];
    const changes = compareRecords(before, after, dollars(2n));
    expect(changes.map((c) => [c.hour, c.before?.quantity ?? null, c.after?.quantity ?? null, c.money?.difference ?? null])).toEqual([
      ['3600000000', '3', '5', '4'],
      ['3600000000', '1.5', '2', null],
      ['7200000000', '0.25', null, '0'],
      ['9', null, '7', '14'],
    ]);
    expect(sumChanges(changes)).toEqual([
      {
        marketplace: 'azure',
        dimension: 'egress',
        unit: 'MiB',
        records: 3,
        before: '3.25',
        after: '12',
        money: [{ currency: 'USD', before: '6', after: '24', difference: '18' }],
        unpriced: 0,
      },
      { marketplace: 'azure', dimension: 'free', unit: 'MiB', records: 1, before: '1.5', after: '2', money: [], unpriced: 1 },
    ]);
  });

  it('knows no money where the unit is another one: a price is for one listed unit', () => {
    const [change] = compareRecords([record({})], [record({ listedUnit: 'MB' })], dollars(2n));
    expect(change).toMatchObject({ before: { unit: 'MiB' }, after: { unit: 'MB' }, money: null });
    expect(sumChanges([change!]).map((s) => [s.unit, s.before, s.after])).toEqual([
      ['MB', '0', '1.5'],
      ['MiB', '1.5', '0'],
    ]);
  });
});
