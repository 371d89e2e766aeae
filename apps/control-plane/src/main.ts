import 'reflect-metadata';
import { ConfigError, createLogger, errorText, loadConfig, type BerthConfig } from '#platform';

/** `--role api|worker|all` and `--port N` win over the environment. */
function withArguments(env: Record<string, string | undefined>, args: string[]): Record<string, string | undefined> {
  const result = { ...env };
  for (let i = 0; i < args.length; i++) {
    const [name, inline] = args[i]!.split('=');
    const value = (): string => inline ?? args[++i] ?? '';
    if (name === '--role') result['BERTH_ROLE'] = value();
    else if (name === '--port') result['PORT'] = value();
    else throw new ConfigError(`unknown argument ${args[i]}. Known are --role api|worker|all and --port <number>`);
  }
  return result;
}

/** After the settings: what is wrong with them is said at once, and not after seconds of loading everything else. */
const load = (): Promise<typeof import('./control-plane.js')> => import('./control-plane.js');

async function main(): Promise<void> {
  let config: BerthConfig;
  try {
    config = loadConfig(withArguments(process.env, process.argv.slice(2)));
  } catch (error) {
    process.stderr.write(`berth: ${errorText(error)}\n`);
    process.exit(2);
  }
  const logger = createLogger('berth', config.logLevel);
  try {
    // Installed before the start: a signal in the middle of it must not leave the embedded servers behind.
    const started = load().then(({ startControlPlane }) => startControlPlane(config, logger));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        logger.info({ signal }, 'stopping');
        // A second signal or a hung close must not leave the process behind.
        setTimeout(() => process.exit(1), 30_000).unref();
        void started
          .then((running) => running.stop())
          .then(
            () => process.exit(0),
            () => process.exit(1),
          );
      });
    }
    const running = await started;
    process.stdout.write(`${JSON.stringify({ ready: true, ...running.banner })}\n`);
  } catch (error) {
    logger.debug({ err: error }, 'start failed');
    process.stderr.write(`berth: ${startFault(error, config)}\n`);
    process.exit(1);
  }
}

/** One line: cause and remedy. */
function startFault(error: unknown, config: BerthConfig): string {
  const e = error as { code?: string };
  const text = errorText(error).split('\n')[0] ?? '';
  if (error instanceof ConfigError) return text;
  if (e.code === 'EADDRINUSE') return `port ${config.port} is in use. Stop what listens there, or set PORT to another (0 takes a free one)`;
  if (e.code === 'EACCES') return `port ${config.port} may not be opened by this user. Set PORT to one above 1023`;
  if (config.databaseUrl && (e.code === 'ECONNREFUSED' || e.code === 'ENOTFOUND'))
    return `the database at ${new URL(config.databaseUrl).host} does not answer (${e.code}). Start it, or correct DATABASE_URL, or unset it to use the embedded one`;
  if (e.code === '28P01' || e.code === '28000' || e.code === '3D000') return `the database refuses: ${text}. Correct DATABASE_URL`;
  if (e.code === '42501')
    return `the database role lacks a right: ${text}. DATABASE_URL must name a role with CREATEROLE that may create in the database`;
  return text;
}

await main();
