import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { projectRoot } from '#platform';

export interface Started {
  url: string;
  banner: Record<string, unknown>;
  child: ChildProcess;
  errors: () => string;
}

/** Starts a built program and waits for its one line of JSON. Rejects with what it wrote to standard error when it ends instead. */
export function startProgram(program: string, args: string[], env: Record<string, string>): Promise<Started> {
  const child = spawn(process.execPath, [join(projectRoot(), 'dist', program), ...args], {
    env: { PATH: process.env['PATH'], TZ: 'UTC', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => {
      const banner = JSON.parse(line) as Record<string, unknown>;
      resolve({ url: String(banner['url']), banner, child, errors: () => errors });
    });
    child.once('exit', (code) => reject(Object.assign(new Error(errors.trim()), { code })));
  });
}
