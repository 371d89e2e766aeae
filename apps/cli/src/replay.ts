import { runProgram } from './program.js';
import { columns, oneLine } from './text.js';

/** Changed records that are printed; `--json` has all. */
const SHOWN = 30;

interface About {
  build: string;
  from: string | null;
  to: string | null;
  leftOut: number;
}
interface Written extends About {
  out: string;
  lines: number;
  sha256: string;
  ledgerHash: string;
}
interface Replayed {
  ledgerHash: string;
  purchases: number;
  different: string[];
  sumLaw: string[];
}
type Replay = About & Replayed & { journalHash: string; equal: boolean };
interface Money {
  currency: string;
  before: string;
  after: string;
  difference: string;
}
interface Side {
  quantity: string;
  unit: string;
  planId: string;
}
interface Diff extends About {
  with: string | null;
  records: { before: number; after: number; changed: number };
  changes: {
    subscriptionId: string;
    marketplace: string;
    dimension: string;
    hour: string;
    before: Side | null;
    after: Side | null;
    money: Money | null;
  }[];
  sums: {
    marketplace: string;
    dimension: string;
    unit: string;
    records: number;
    before: string;
    after: string;
    money: Money[];
    unpriced: number;
  }[];
  notInCatalog: string[];
  replayed: Replayed;
}

/** Runs the wish and prints its answer; null where it was refused, which its program has said. */
async function asked<T>(
  wish: Record<string, unknown>,
  json: boolean,
  print: (answer: T) => string,
): Promise<{ code: number; answer: T | null }> {
  const { code, out } = await runProgram('replay/program.js', [JSON.stringify(wish)], true);
  if (code !== 0) return { code, answer: null };
  const answer = JSON.parse(out) as T;
  process.stdout.write(json ? `${JSON.stringify(answer, null, 2)}\n` : print(answer));
  return { code, answer };
}

const span = (a: About): string =>
  [
    a.from ? `${a.from.slice(0, 16)}Z to ${a.to?.slice(0, 16)}Z` : 'nothing was closed yet',
    ...(a.leftOut > 0 ? [`${a.leftOut} purchases cannot be replayed and are left out (docs/guides/billing.md)`] : []),
  ].join('; ');

/** Writes the journal of the installation that the settings name. */
export async function journal({ out, json }: { out: string; json: boolean }): Promise<number> {
  const { code } = await asked<Written>({ command: 'journal', out }, json, (w) =>
    [`${oneLine(w.out)}: ${w.lines} lines, ${span(w)}`, `sha256       ${w.sha256}`, `ledger hash  ${w.ledgerHash}`, ''].join('\n'),
  );
  return code;
}

export async function ledgerHash({ json }: { json: boolean }): Promise<number> {
  const { code } = await asked<{ ledgerHash: string }>({ command: 'ledger-hash' }, json, (h) => `${h.ledgerHash}\n`);
  return code;
}

/** 0 where the ledger is the journal's, 1 where it is another one or where it was refused, 2 for a wrong question. */
export async function replay({ from, into, json }: { from: string; into?: string; json: boolean }): Promise<number> {
  const { code, answer } = await asked<Replay>({ command: 'replay', from, into }, json, printedReplay);
  return answer ? (answer.equal && answer.sumLaw.length === 0 ? 0 : 1) : code;
}

function printedReplay(r: Replay): string {
  const out = [`${r.purchases} purchases, ${span(r)}, written by ${oneLine(r.build)}`, `ledger hash  ${r.ledgerHash}`];
  if (r.equal) out.push("the journal's, bit for bit");
  else out.push(`the journal  ${r.journalHash}`, `OTHER than the journal says, for ${r.different.length} purchases:`, ...some(r.different));
  out.push(...(r.sumLaw.length === 0 ? ['the sum law holds'] : ['THE SUM LAW IS BROKEN:', ...some(r.sumLaw)]));
  return `${out.join('\n')}\n`;
}
const some = (lines: string[]): string[] => [
  ...lines.slice(0, SHOWN).map((l) => `  ${oneLine(l)}`),
  ...(lines.length > SHOWN ? [`  and ${lines.length - SHOWN} more`] : []),
];

/** 0 where no record would change, 2 where some would, 1 where it was refused. */
export async function billingDiff(wish: { from: string; catalog?: string; into?: string; json: boolean }): Promise<number> {
  const { json, ...of } = wish;
  const { answer } = await asked<Diff>({ command: 'billing-diff', ...of }, json, printedDiff);
  if (!answer) return 1;
  return answer.records.changed > 0 ? 2 : 0;
}

function printedDiff(d: Diff): string {
  const what = d.with === null ? 'this build' : `the catalog ${oneLine(d.with)}`;
  const out = [`${span(d)}, written by ${oneLine(d.build)}`];
  if (d.notInCatalog.length > 0) out.push(`not in the catalog, left as they were: ${d.notInCatalog.map(oneLine).join(', ')}`);
  if (d.records.changed === 0) {
    out.push(`With ${what} none of ${d.records.before} records would change.`);
    if (d.with === null && d.replayed.different.length > 0)
      out.push(`The ledgers of ${d.replayed.different.length} purchases would: replay tells which.`);
    return `${out.join('\n')}\n`;
  }
  out.push(`With ${what} ${d.records.changed} of ${d.records.before} records would change (${d.records.after} then).`, '');
  const table = (rows: string[][], right: number[]): void => void out.push(columns(rows, right).replace(/^/gm, '  '), '');
  table(
    [
      ['marketplace', 'dimension', 'unit', 'records', 'before', 'after', 'money'],
      ...d.sums.map((s) => [
        s.marketplace,
        oneLine(s.dimension),
        oneLine(s.unit),
        String(s.records),
        s.before,
        s.after,
        [...s.money.map(moneyText), ...(s.unpriced > 0 ? [`price unknown for ${s.unpriced}`] : [])].join(', '),
      ]),
    ],
    [3, 4, 5],
  );
  const amount = (s: Side | null): string => (s ? `${s.quantity} ${oneLine(s.unit)}` : '-');
  table(
    [
      ['purchase', 'dimension', 'hour', 'before', 'after', 'money'],
      ...d.changes
        .slice(0, SHOWN)
        .map((c) => [
          c.subscriptionId,
          oneLine(c.dimension),
          `${c.hour.slice(0, 16)}Z`,
          amount(c.before),
          amount(c.after),
          c.money ? moneyText(c.money) : 'price unknown',
        ]),
    ],
    [3, 4],
  );
  if (d.changes.length > SHOWN) out.push(`and ${d.changes.length - SHOWN} more: --json has all`, '');
  return out.join('\n');
}

const moneyText = (m: Money): string =>
  `${m.before} -> ${m.after} ${m.currency} (${m.difference.startsWith('-') ? '' : '+'}${m.difference})`;
