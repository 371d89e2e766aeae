import { Api, Refused } from './api.js';
import { columns, oneLine } from './text.js';

export interface ReconcileArguments {
  kinds?: string[];
  marketplace?: string;
  from?: string;
  to?: string;
  wait: boolean;
  json: boolean;
}

interface Comparison {
  step: number;
  kind: string;
  marketplace: string | null;
  state: string;
  reason: string | null;
  compared: number;
  agreed: number;
  differing: number;
  notYetVisible: number;
  findingsOpened: number;
  findingsClosed: number;
}
interface Run {
  id: string;
  state: 'queued' | 'running' | 'done' | 'failed';
  agreed: boolean | null;
  from: string;
  to: string;
  progress: { step: number; of: number; compared: number };
  comparisons: Comparison[];
}

const LOOK_EVERY_MS = 1_000;
/** So long another run of the same is waited for. */
const TRIES = 600;

/**
 * Starts a run of comparisons; with `wait` waits for others of the same, tells how far it is (on stderr) and prints what it found. Answers the exit code: 0 all agreed
 * (or only started), 2 something differs, 1 a comparison could not be made.
 */
export async function reconcile(options: ReconcileArguments): Promise<number> {
  const api = Api.fromEnvironment();
  const { kinds, marketplace, from, to } = options;
  let said = '';
  const say = (line: string): void => {
    if (line !== said) process.stderr.write(`${line}\n`);
    said = line;
  };
  let run: Run | null = null;
  for (let tries = 1; run === null; tries += 1) {
    try {
      run = await api.json<Run>('reconciliations', {}, { kinds, marketplace, from, to, via: 'command' });
    } catch (error) {
      if (!options.wait || tries === TRIES || !(error instanceof Refused) || error.code !== 'reconciliation.under_way') throw error;
      say('waits for another run that compares the same');
      await pause();
    }
  }
  if (options.wait) {
    while (run.state === 'queued' || run.state === 'running') {
      say(progressOf(run));
      await pause();
      run = await api.json<Run>(`reconciliations/${run.id}`);
    }
  }
  process.stdout.write(options.json ? `${JSON.stringify(run, null, 2)}\n` : printed(run));
  if (!options.wait) return 0;
  return run.comparisons.some((c) => c.differing > 0) ? 2 : run.state === 'failed' ? 1 : 0;
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
const nameOf = (c: Comparison): string => `${c.kind}${c.marketplace ? ` ${c.marketplace}` : ''}`;

function progressOf(run: Run): string {
  const now = run.comparisons.find((c) => c.state === 'running' || c.state === 'waiting');
  const { step, of, compared } = run.progress;
  return run.state === 'queued' ? 'waits for a worker' : `${step} of ${of}: ${now ? nameOf(now) : 'at its end'}, ${compared} compared`;
}

function printed(run: Run): string {
  const head = `${run.id}: ${run.state}, from ${run.from} to ${run.to}`;
  if (run.state === 'queued' || run.state === 'running')
    return `${head}\nIt goes on by itself; GET /api/v1/reconciliations/${run.id} tells how far it is (or use --wait).\n`;
  const rows = run.comparisons.map((c) => [
    nameOf(c),
    c.state === 'done' ? (c.differing > 0 ? 'DIFFERS' : 'agrees') : oneLine(c.state.replace('_', ' ')),
    ...[c.compared, c.agreed, c.differing, c.notYetVisible, c.findingsOpened, c.findingsClosed].map(String),
    oneLine(c.reason ?? ''),
  ]);
  return `${head}\n${columns(
    [['comparison', 'result', 'compared', 'agreed', 'differing', 'not yet', 'opened', 'closed', ''], ...rows],
    [2, 3, 4, 5, 6, 7],
  )}\n${run.comparisons.some((c) => c.differing > 0) ? 'What differs are findings: berth findings --open\n' : ''}`;
}
