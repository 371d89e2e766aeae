import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Check, Diagnosis } from '../src/diagnosis.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

export interface Said {
  code: number;
  out: string;
  errors: string;
}

/** The built command as a person runs it; nothing of the test's own environment reaches it. */
export function berth(args: string[], env: Record<string, string>): Promise<Said> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(root, 'dist/apps/cli/src/main.js'), ...args],
      { env: { PATH: process.env['PATH'], ...env }, timeout: 120_000 },
      (error, out, errors) => resolve({ code: error ? Number(error.code ?? 1) : 0, out, errors }),
    );
  });
}

export interface Examined extends Said {
  checks: Map<string, Check>;
}

/** `berth doctor … --json`, its checks by name. */
export async function examined(marketplace: string, env: Record<string, string>, ...more: string[]): Promise<Examined> {
  const said = await berth(['doctor', marketplace, '--json', ...more], env);
  const { reports } = (said.out ? JSON.parse(said.out) : { reports: [] }) as Diagnosis;
  return { ...said, checks: new Map(reports.flatMap(({ checks }) => checks.map((one) => [one.check, one] as const))) };
}
