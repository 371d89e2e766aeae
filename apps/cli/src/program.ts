import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { childEnvironment } from './config.js';

export interface Ran {
  code: number;
  out: string;
  errors: string;
}

/** Runs a program of the control plane's build with our settings. With `aloud` its progress goes to the terminal as it comes. */
export function runProgram(path: 'doctor/program.js' | 'replay/program.js', args: string[], aloud = false): Promise<Ran> {
  const program = fileURLToPath(new URL(`../../control-plane/src/${path}`, import.meta.url));
  const child = spawn(process.execPath, [program, ...args], { env: childEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString('utf8');
    if (aloud) process.stderr.write(chunk);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, out, errors }));
  });
}
