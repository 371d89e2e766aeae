import { Api } from './api.js';
import { columns, oneLine } from './text.js';

interface Units {
  dimension: string;
  listedUnit: string;
  units: string;
}
interface AtRisk {
  asOf: string;
  items: {
    marketplace: string;
    hours: number;
    pastTarget: number;
    nextDeadline: string | null;
    alert: 'none' | 'warn' | 'page';
    buckets: {
      within: string;
      hours: number;
      dimensions: Units[];
      amounts: { currency: string; amount: string; provisional: boolean }[];
      unpriced: Units[];
    }[];
  }[];
}

/** Prints frozen hours that no marketplace has accepted yet. */
export async function atRisk(options: { json: boolean }): Promise<number> {
  const risk = await Api.fromEnvironment().json<AtRisk>('at-risk');
  process.stdout.write(options.json ? `${JSON.stringify(risk, null, 2)}\n` : printed(risk));
  return 0;
}

const unitsText = (all: Units[]): string => all.map((u) => `${u.units} ${oneLine(u.dimension)}`).join(', ');

function printed(risk: AtRisk): string {
  if (risk.items.length === 0) return `${risk.asOf}: nothing waits; every frozen hour was accepted or has its finding\n`;
  const rows = risk.items.flatMap((i) =>
    i.buckets.map((b) => [
      i.marketplace,
      i.alert,
      b.within,
      String(b.hours),
      b.amounts.map((a) => `${a.amount} ${a.currency}${a.provisional ? ' (provisional)' : ''}`).join(', ') || '-',
      unitsText(b.unpriced) || '-',
      i.nextDeadline ?? '-',
      unitsText(b.dimensions),
    ]),
  );
  return `${risk.asOf}\n${columns([['marketplace', 'alert', 'left', 'hours', 'amount', 'without a price', 'next deadline', 'units'], ...rows], [3, 4])}\n`;
}
