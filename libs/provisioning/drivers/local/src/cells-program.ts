/**
 * Makes and removes one cell from a command line, for tools that build clusters and speak no TypeScript:
 *
 *   node cells-program.js ensure --root <folder> --cluster <name> --token <fencing token> --spec <json> [--max-cells <n>]
 *   node cells-program.js remove --root <folder> --cluster <name> --token <fencing token>
 *
 * Both are "ensure": repeating one changes nothing. The token is compared with the highest that this root has seen, so that a tool
 * which goes on after it was overtaken makes and removes nothing. What fails is told as `berth-error: {class, code, detail}`.
 */
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { DriverError, toDriverError, type ClusterSpec, type DriverCall, type DriverResult } from '#provisioning/core';
import { LocalDriver } from './local.driver.js';

const PATIENCE_MS = 120_000;
/** This program starts in a fraction of a second because it loads no #platform; a cell's record tells only when it was made. */
// eslint-disable-next-line no-restricted-syntax
const now = (): Date => new Date();

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      root: { type: 'string' },
      cluster: { type: 'string' },
      token: { type: 'string' },
      spec: { type: 'string' },
      'max-cells': { type: 'string' },
    },
  });
  const { root, cluster, token } = values;
  if (!root || !cluster || !/^\d+$/.test(token ?? '')) throw usage('--root, --cluster and --token are needed');
  const driver = new LocalDriver({
    rootFolder: root,
    clock: { now },
    ingest: null,
    leaveConnections: true,
    ...(values['max-cells'] ? { maxCells: Number(values['max-cells']) } : {}),
  });
  const call = (): DriverCall => ({
    operationId: randomUUID(),
    clusterRef: cluster,
    generation: 0,
    fencingToken: Number(token),
    deadline: new Date(now().getTime() + PATIENCE_MS),
  });
  switch (positionals[0]) {
    case 'ensure':
      return ensure(driver, call, JSON.parse(values.spec ?? 'null') as ClusterSpec | null);
    case 'remove':
      return remove(driver, call(), cluster);
    default:
      throw usage(`"${positionals[0] ?? ''}" is neither ensure nor remove`);
  }
}

async function ensure(driver: LocalDriver, call: () => DriverCall, spec: ClusterSpec | null): Promise<void> {
  if (!spec) throw usage('--spec is needed');
  const planning = call();
  const plan = await outcome(() => driver.plan(planning, spec));
  // Who wants the data gone says `remove` first.
  if (plan.destructive)
    throw new DriverError('permission', 'cell.would_be_replaced', `Cell ${plan.destroys.join(', ')} would lose its data; remove it first.`);
  const applying = call();
  await outcome(() => driver.apply(applying, { plan }));
}

async function remove(driver: LocalDriver, call: DriverCall, cluster: string): Promise<void> {
  const { survivors } = await outcome(() => driver.delete(call, { confirm: cluster }));
  if (survivors.length > 0)
    throw new DriverError('unknown', 'cell.survives', `What is left: ${survivors.map((s) => s.externalId).join(', ')}.`);
}

async function outcome<T>(ask: () => Promise<DriverResult<T>>): Promise<T> {
  for (;;) {
    const result = await ask();
    if (result.phase === 'succeeded') return result.output as T;
    if (result.phase !== 'running')
      throw new DriverError(result.error?.class ?? 'unknown', result.error?.code ?? result.phase, result.error?.detail ?? '');
    await new Promise((done) => setTimeout(done, 50));
  }
}

const usage = (detail: string): DriverError => new DriverError('validation', 'cells_program.usage', detail);

try {
  await main();
  // What still listens (a cell's open log, a timer) shall not keep a finished tool.
  process.exit(0);
} catch (thrown) {
  console.error(`berth-error: ${JSON.stringify(toDriverError(thrown).toShape())}`);
  process.exit(1);
}
