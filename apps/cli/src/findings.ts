import { Api } from './api.js';
import { columns, oneLine } from './text.js';

export interface FindingsArguments {
  open: boolean;
  kind?: string;
  json: boolean;
}

interface Finding {
  id: string;
  kind: string;
  marketplace: string | null;
  subscriptionId: string | null;
  dimension: string | null;
  hour: string | null;
  units: string | null;
  amount: string | null;
  currency: string | null;
  price: unknown;
  deadline: string | null;
  evidence: Record<string, unknown>;
  maySettle: string[];
  state: string;
}
interface Page {
  items: Finding[];
  nextCursor: string | null;
}

/** Prints named differences, oldest first. One that waits for its second person is open, too. */
export async function findings(options: FindingsArguments): Promise<number> {
  const api = Api.fromEnvironment();
  const all: Finding[] = [];
  let cursor: string | undefined;
  do {
    const page = await api.json<Page>('findings', { limit: '200', open: options.open ? 'true' : undefined, kind: options.kind, cursor });
    all.push(...page.items);
    cursor = page.nextCursor ?? undefined;
  } while (cursor);
  process.stdout.write(options.json ? `${JSON.stringify(all, null, 2)}\n` : printed(all));
  return 0;
}

/** What the evidence says in words, or the sides of a comparison. */
function whatOf({ evidence }: Finding): string {
  const said = [evidence['what'], evidence['why']].filter((part) => typeof part === 'string');
  if ('ours' in evidence && 'theirs' in evidence) said.push(`ours ${String(evidence['ours'])}, theirs ${String(evidence['theirs'])}`);
  return oneLine(said.join('; ')).slice(0, 100);
}

function printed(all: Finding[]): string {
  if (all.length === 0) return 'no findings\n';
  const rows = all.map((f) => [
    f.id,
    f.kind,
    f.state,
    f.marketplace ?? '-',
    f.subscriptionId ?? '-',
    oneLine(f.dimension ?? '-'),
    f.hour ?? '-',
    f.units ?? '-',
    f.amount ? `${f.amount} ${f.currency ?? ''}` : f.price === 'price_unknown' ? 'price unknown' : '-',
    f.deadline ?? '-',
    f.maySettle.join(' ') || '-',
    whatOf(f),
  ]);
  const head = [
    'finding',
    'kind',
    'state',
    'marketplace',
    'purchase',
    'dimension',
    'hour',
    'units',
    'amount',
    'deadline',
    'may be settled by',
    'what',
  ];
  return `${columns([head, ...rows], [7, 8])}\n`;
}
