import { existsSync, readFileSync } from 'node:fs';
import { findNativeFolder, serverOwner, usableNativeFolder } from './binaries.js';
import { holdDataFolder, prepareDataFolder, removeDataFolder } from './data-folder.js';
import { EMBEDDED_DATABASE, EMBEDDED_SUPERUSER, PostgresLauncher, type LaunchOptions } from './postgres-launcher.js';
import { endServer } from './postgres-programs.js';
import { endWithThisProcess } from './process-tools.js';

export interface EmbeddedPostgresOptions extends LaunchOptions {
  /** The server's own folder; log, port and password lie beside it. */
  readonly dataDir: string;
  readonly superuserPasswordFile?: string;
  /** True lets the server live on when this process is killed; the next start adopts it. Else it ends with us in any case. */
  readonly detached?: boolean;
}

export interface EmbeddedPostgres {
  /** The superuser's URL (role `berth_admin`, database `berth`): for migrations and set-up, never for serving. */
  readonly url: string;
  readonly port: number;
  /** True when a server that outlived its launcher was taken over. */
  readonly adopted: boolean;
  readonly pid: number;
  readonly logFile: string;
  /** Ends the server in good order. `removeData` also deletes the data folder with its log and password. */
  stop(options?: { removeData?: boolean }): Promise<void>;
}

/**
 * A private, real Postgres from the binaries of an npm package, for a machine that has none (stack.md §2.1 lists the traps).
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const owner = serverOwner();
  const native = usableNativeFolder(findNativeFolder(), owner);
  const folder = prepareDataFolder(options.dataDir, owner, options.superuserPasswordFile);
  const hold = holdDataFolder(folder, !options.detached);
  try {
    const launcher = new PostgresLauncher(native, owner, folder, options);
    const running = (await launcher.adopt(hold.predecessorTied)) ?? (await launcher.startNew());
    const letGo = options.detached ? () => undefined : endWithThisProcess(running.process, 'INT', owner);
    return {
      url: running.url(EMBEDDED_DATABASE),
      port: running.port,
      adopted: running.adopted,
      pid: running.process.pid,
      logFile: folder.log,
      async stop({ removeData = false } = {}) {
        await endServer(running.process);
        letGo();
        if (removeData) removeDataFolder(folder, options.dataDir);
        hold.release();
      },
    };
  } catch (error) {
    hold.release();
    throw error;
  }
}

/** The superuser's URL of the embedded Postgres of a data folder, as its last start left it; null where none was started there. */
export function embeddedUrl(dataDir: string): string | null {
  const [port, password] = [`${dataDir}.port`, `${dataDir}.password`].map((file) =>
    existsSync(file) ? readFileSync(file, 'utf8').trim() : null,
  );
  return port && password
    ? `postgresql://${EMBEDDED_SUPERUSER}:${encodeURIComponent(password)}@127.0.0.1:${port}/${EMBEDDED_DATABASE}`
    : null;
}
