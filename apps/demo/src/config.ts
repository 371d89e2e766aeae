import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface DemoConfig {
  /** Decides what is written, and the instant of the kill. */
  seed: number;
  keep: boolean;
  plantDifference: boolean;
  sandboxProgram: string;
  controlPlaneProgram: string;
  /** What the processes inherit: nothing of the product's own settings, so that a demo never meets somebody's real data. */
  environment: Record<string, string>;
}

/** A wrong argument or a missing build: one line for a person. */
export class UsageError extends Error {}

export const HELP = `usage: npm run demo -- [--seed N] [--keep] [--plant-difference]
  --seed N            what is written and when the control plane is killed (default 1)
  --keep              leave the data folder for a look afterwards
  --plant-difference  change one billed quantity by one unit behind our back: the run must fail`;

const DEFAULT_SEED = 1;
const OF_THE_PRODUCT = /^(BERTH_|AZURE_|GCP_|GOOGLE_|AWS_|SANDBOX_|PUBSUB_)|^(DATABASE_URL|REDIS_URL|PORT|HOST)$/;
const STILL_PASSED = new Set(['BERTH_RUN_ID', 'BERTH_REDIS']);

export function readConfig(args: string[], env: Record<string, string | undefined>): DemoConfig | 'help' {
  let seed = DEFAULT_SEED;
  let keep = false;
  let plantDifference = false;
  for (let i = 0; i < args.length; i += 1) {
    const [name, inline] = args[i]!.split('=', 2);
    if (name === '--help' || name === '-h') return 'help';
    if (name === '--keep') keep = true;
    else if (name === '--plant-difference') plantDifference = true;
    else if (name === '--seed') {
      const text = inline ?? args[++i] ?? '';
      if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--seed takes a whole number, not "${text}"`);
      seed = Number(text);
    } else throw new UsageError(`unknown argument ${args[i]}\n${HELP}`);
  }
  const apps = join(builtRoot(), 'apps');
  const program = (name: string): string => {
    const file = join(apps, name, 'src', 'main.js');
    if (!existsSync(file)) throw new UsageError(`${file} is missing. Run: npm run build`);
    return file;
  };
  const passed = Object.entries(env).filter(
    (e): e is [string, string] => e[1] !== undefined && (STILL_PASSED.has(e[0]) || !OF_THE_PRODUCT.test(e[0])),
  );
  return {
    seed,
    keep,
    plantDifference,
    sandboxProgram: program('marketplace-sandbox'),
    controlPlaneProgram: program('control-plane'),
    environment: Object.fromEntries(passed),
  };
}

/** `dist`, found from this file: dist/apps/demo/src/config.js. */
function builtRoot(): string {
  return join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
}
