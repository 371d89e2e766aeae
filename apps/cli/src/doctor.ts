import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { childEnvironment } from './config.js';
import { exitCode, printed, type Diagnosis } from './diagnosis.js';

const PROGRAM = fileURLToPath(new URL('../../control-plane/src/doctor/program.js', import.meta.url));

export interface DoctorArguments {
  json: boolean;
  strict: boolean;
  /** Seconds for each check. */
  timeout: number;
}

/** Answers the exit code: 0 nothing fails, 1 something does (with `strict` also a warning or an unknown), 2 a wrong question or setting. */
export async function doctor(marketplace: string, options: DoctorArguments): Promise<number> {
  const { code, out, errors } = await run([marketplace, String(options.timeout * 1000)]);
  if (code !== 0) {
    process.stderr.write(errors.trim() === '' ? `berth: the examination ended with ${code}\n` : `${errors.trim().split('\n').at(-1)}\n`);
    return code;
  }
  const diagnosis = JSON.parse(out) as Diagnosis;
  const result = exitCode(diagnosis, options.strict);
  process.stdout.write(options.json ? `${JSON.stringify({ ...diagnosis, ok: result === 0 }, null, 2)}\n` : printed(diagnosis));
  return result;
}

function run(args: string[]): Promise<{ code: number; out: string; errors: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { env: childEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString('utf8')));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, out, errors }));
  });
}
