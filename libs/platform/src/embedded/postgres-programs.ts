import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServerOwner } from './binaries.js';
import { EmbeddedStartError } from './embedded.errors.js';
import { signal, waitForEnd, type ProcessIdentity } from './process-tools.js';

/** Runs initdb, or postgres in its single-user mode, to its end as the server's user. */
export function runProgram(
  native: string,
  owner: ServerOwner,
  program: 'initdb' | 'postgres',
  args: string[],
  input?: string,
): Promise<{ code: number | null; text: string }> {
  return new Promise((resolve) => {
    const child = spawn(join(native, 'bin', program), args, {
      ...owner,
      cwd: '/',
      env: childEnvironment(),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stdin.on('error', () => undefined);
    child.once('error', (error) => resolve({ code: null, text: error.message }));
    child.once('close', (code) => resolve({ code, text }));
    child.stdin.end(input ?? '');
  });
}

/** Fast shutdown; after 20 s the immediate one, which recovers at the next start; a zombie counts as ended. */
export async function endServer(server: ProcessIdentity): Promise<void> {
  signal(server, 'SIGINT');
  if (await waitForEnd(server, 20_000)) return;
  signal(server, 'SIGQUIT');
  if (await waitForEnd(server, 10_000)) return;
  throw new EmbeddedStartError(`the embedded Postgres (process ${server.pid}) does not end`, `end it with kill -QUIT ${server.pid}`);
}

/** None of our variables (PGPORT, PGDATA, secrets) reaches the server; the run's mark does, so that leftovers can be found. */
export function childEnvironment(): NodeJS.ProcessEnv {
  const mark = process.env['BERTH_RUN_ID'];
  return { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', ...(mark ? { BERTH_RUN_ID: mark } : {}) };
}

export function majorVersion(native: string): string | undefined {
  const file = join(native, '..', 'package.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version.split('.')[0] : undefined;
}

const lines = (text: string): string[] => text.split('\n').filter((line) => line.trim() !== '');
export const lastLine = (text: string): string => lines(text).at(-1) ?? 'it said nothing';
export const fatalLine = (text: string): string =>
  lines(text).find((line) => /FATAL|PANIC|error( while loading|:)/.test(line)) ?? lastLine(text);
