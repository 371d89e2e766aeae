import { Api } from './api.js';
import { columns, oneLine } from './text.js';

export interface PayoutsArguments {
  marketplace?: string;
  json: boolean;
}

interface Payout {
  id: string;
  marketplace: string;
  reference: string;
  currency: string;
  gross: string;
  fee: string;
  tax: string;
  net: string;
  unexplained: string;
  unallocated: string;
  payout: string;
  payoutCurrency: string;
  voidedAt: string | null;
}
interface Page {
  items: Payout[];
  nextCursor: string | null;
}

/** Prints payouts as they were imported, each with what of its gross is for nothing known. */
export async function payouts(options: PayoutsArguments): Promise<number> {
  const api = Api.fromEnvironment();
  const all: Payout[] = [];
  let cursor: string | undefined;
  do {
    const page = await api.json<Page>('remittances', { limit: '200', marketplace: options.marketplace, cursor });
    all.push(...page.items);
    cursor = page.nextCursor ?? undefined;
  } while (cursor);
  process.stdout.write(options.json ? `${JSON.stringify(all, null, 2)}\n` : printed(all));
  return 0;
}

function printed(all: Payout[]): string {
  if (all.length === 0) return 'no payouts were imported (POST /api/v1/remittances/imports)\n';
  const rows = all.map((p) => [
    p.id,
    p.marketplace,
    `${oneLine(p.reference)}${p.voidedAt ? ' (void)' : ''}`,
    p.currency,
    p.gross,
    p.fee,
    p.tax,
    p.net,
    p.unexplained,
    p.unallocated,
    `${p.payout} ${p.payoutCurrency}`,
  ]);
  const head = ['payout', 'marketplace', 'reference', 'currency', 'gross', 'fee', 'tax', 'net', 'unexplained', 'unallocated', 'paid out'];
  return `${columns([head, ...rows], [4, 5, 6, 7, 8, 9, 10])}\n`;
}
