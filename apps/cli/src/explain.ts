import { Api } from './api.js';
import { columns, oneLine } from './text.js';

export interface ExplainArguments {
  json: boolean;
  html: boolean;
  source?: string;
  day?: string;
}

interface Explanation {
  record: { id: string; quantity: string; listedUnit: string } | null;
  meter: string;
  hour: string;
  unit: { listed: string; base: string };
  words: string[];
  arithmetic: { words: string; base: string; units: string }[];
}
interface Explained {
  found: string;
  explanations: Explanation[];
  events: {
    eventId: string;
    metric: string;
    at: string;
    traces: { hour: string; meter: string; words: string; nextRecordId: string | null; explanation: Explanation | null }[];
  }[];
}

/** Prints where an amount comes from, or where a sample went. */
export async function explain(of: string, options: ExplainArguments): Promise<number> {
  const api = Api.fromEnvironment();
  const query = { of, source: options.source, day: options.day };
  if (options.html) {
    process.stdout.write(await api.text('explanations', { ...query, format: 'html' }));
    return 0;
  }
  const found = await api.json<Explained>('explanations', query);
  process.stdout.write(options.json ? `${JSON.stringify(found, null, 2)}\n` : printed(found));
  return 0;
}

function printed(found: Explained): string {
  const events = found.events.flatMap((e) => [
    `sample ${oneLine(e.eventId)}: ${oneLine(e.metric)} at ${oneLine(e.at)}`,
    ...e.traces.flatMap((t) => [
      `  ${oneLine(t.meter)}, hour ${t.hour}: ${oneLine(t.words)}${t.nextRecordId ? ` Next record: ${t.nextRecordId}.` : ''}`,
      '',
      ...(t.explanation ? block(t.explanation) : []),
    ]),
  ]);
  return `${[...events, ...found.explanations.flatMap(block)].join('\n')}\n`;
}

function block(x: Explanation): string[] {
  return [
    `${x.record ? `${x.record.id}: ${x.record.quantity} ${oneLine(x.record.listedUnit)}` : 'nothing sent'}, ${oneLine(x.meter)}, hour ${x.hour}`,
    ...x.words.map((w) => `  ${oneLine(w)}`),
    '',
    columns(
      [
        ['step', oneLine(x.unit.listed), `${x.unit.base}, exact`],
        ...x.arithmetic.map((s) => [oneLine(s.words), s.units, s.base]),
        ['together', '0', x.arithmetic.reduce((sum, s) => sum + BigInt(s.base), 0n).toString()],
      ],
      [1, 2],
    ).replace(/^/gm, '  '),
    '',
  ];
}
