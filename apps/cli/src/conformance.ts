import { Api } from './api.js';
import { columns, oneLine } from './text.js';

export interface ConformanceArguments {
  wait: boolean;
  evidence: boolean;
  json: boolean;
}

interface Run {
  id: string;
  endpoint: string;
  suite: string;
  suiteVersion: string;
  state: 'queued' | 'running' | 'done' | 'failed';
  result: string | null;
  lacking: string[];
  progress: { step: number; of: number; awaited: string | null };
  rules: {
    rule: string;
    asks: string;
    required: boolean;
    outcome: string;
    detail: string | null;
    evidence: { request: string; status: number | null; errorCode: string | null; ms: number }[];
  }[];
  error: { code: string; detail: string } | null;
}

const LOOK_EVERY_MS = 250;

/**
 * Has a placement's Blob endpoint judged, or shows a run (`cfr_…`). With `wait` tells on stderr how far it is. Answers the exit code:
 * 0 passed (or only started), 2 it does not pass, 1 the run could not be carried out.
 */
export async function conformance(what: string, options: ConformanceArguments): Promise<number> {
  const api = Api.fromEnvironment();
  const shown = what.startsWith('cfr_');
  let run = shown ? await api.json<Run>(`conformance-runs/${what}`) : await api.json<Run>(`placements/${what}/conformance-runs`, {}, {});
  let said = '';
  while (options.wait && (run.state === 'queued' || run.state === 'running')) {
    const { step, of, awaited } = run.progress;
    const line = run.state === 'queued' ? 'waits for a worker' : `${step} of ${of}: ${awaited ?? 'at its end'}`;
    if (line !== said) process.stderr.write(`${line}\n`);
    said = line;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    run = await api.json<Run>(`conformance-runs/${run.id}`);
  }
  process.stdout.write(options.json ? `${JSON.stringify(run, null, 2)}\n` : printed(run, options.evidence));
  if (run.state === 'failed') return 1;
  return run.state === 'done' && run.result !== 'pass' ? 2 : 0;
}

function printed(run: Run, evidence: boolean): string {
  const head = `${run.id}: ${run.suite} ${run.suiteVersion} against ${run.endpoint}: ${run.result ?? run.state}`;
  if (run.error) return `${head}\nIt could not be carried out: ${oneLine(run.error.detail)} (${run.error.code})\n`;
  if (run.state !== 'done') return `${head}\nberth conformance ${run.id} --wait tells how it ends.\n`;
  const rows = run.rules.map((r) => [r.rule, r.outcome.replaceAll('_', ' '), r.required ? '' : 'optional', oneLine(r.detail ?? '')]);
  const seen = run.rules.flatMap((r) => [
    `${r.rule}: ${oneLine(r.asks)}`,
    ...r.evidence.map((e) => `  ${e.request} -> ${e.status ?? 'no answer'}${e.errorCode ? ` ${oneLine(e.errorCode)}` : ''} (${e.ms} ms)`),
  ]);
  const lacking = run.lacking.length > 0 ? `Lacking, and not required: ${run.lacking.join(', ')}.\n` : '';
  return `${head}\n${columns([['rule', 'outcome', '', ''], ...rows], [])}\n${lacking}${evidence ? `${seen.join('\n')}\n` : ''}`;
}
