import { HELP, readConfig, UsageError, type DemoConfig } from './config.js';
import { tell } from './story.js';
import { killAllNow } from './support/processes.js';
import { ExpectationFailed, Report } from './support/report.js';
import { World } from './world.js';

const FAILED = 1;
const WRONG_USE = 2;
const INTERRUPTED = 130;

function config(): DemoConfig | number {
  try {
    const read = readConfig(process.argv.slice(2), process.env);
    if (read !== 'help') return read;
    console.log(HELP);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`demo: ${error.message}`);
    return WRONG_USE;
  }
}

async function main(): Promise<number> {
  const read = config();
  if (typeof read === 'number') return read;
  const report = new Report();
  const world = new World(read, report);
  report.line(`Berth, the whole way of a purchase. Data: ${world.folder}${read.keep ? ' (kept)' : ''}`);

  let ending: Promise<string[]> | undefined;
  const end = (): Promise<string[]> => (ending ??= world.end());
  let interrupt!: () => void;
  const interrupted = new Promise<'interrupted'>((resolve) => (interrupt = () => resolve('interrupted')));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // A second one means now.
      if (ending) {
        killAllNow();
        process.exit(INTERRUPTED);
      }
      interrupt();
    });
  }
  process.on('exit', killAllNow);

  let reason: string | undefined;
  const outcome = await Promise.race([tell(world).then(() => 'told' as const), interrupted]).catch((error: unknown) => {
    reason = error instanceof Error ? error.message : String(error);
    if (!(error instanceof ExpectationFailed)) report.line(`   ✗ ${reason}`);
    return 'failed' as const;
  });
  if (outcome === 'failed') {
    report.line('\nLast lines of the control plane:');
    report.block(world.logTail('control-plane'));
  }
  const faults = await end();

  report.line();
  for (const life of world.lives)
    report.fact(`control plane (${life.end}): started in ${String(life.startMs)} ms, at most ${life.peakMiB ?? '?'} MiB of memory`);
  for (const fault of faults) report.line(`   ✗ ${fault}`);
  if (outcome === 'interrupted') {
    report.line(`Interrupted after ${report.elapsed()}; everything that was started has been ended.`);
    return INTERRUPTED;
  }
  if (outcome === 'failed') {
    report.line(`FAILED after ${report.elapsed()}, ${report.held} expectations held: ${reason}`);
    return FAILED;
  }
  if (faults.length > 0) {
    report.line(`FAILED after ${report.elapsed()}: the story held, but its end did not: ${faults[0]}`);
    return FAILED;
  }
  report.line(`All ${report.held} expectations held in ${report.elapsed()}; nothing is left running.`);
  return 0;
}

process.exit(await main());
