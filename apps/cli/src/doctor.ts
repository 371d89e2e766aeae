import { exitCode, printed, type Diagnosis } from './diagnosis.js';
import { runProgram } from './program.js';

export interface DoctorArguments {
  json: boolean;
  strict: boolean;
  /** Seconds for each check. */
  timeout: number;
}

/** Answers the exit code: 0 nothing fails, 1 something does (with `strict` also a warning or an unknown), 2 a wrong question or setting. */
export async function doctor(marketplace: string, options: DoctorArguments): Promise<number> {
  const { code, out, errors } = await runProgram('doctor/program.js', [marketplace, String(options.timeout * 1000)]);
  if (code !== 0) {
    process.stderr.write(errors.trim() === '' ? `berth: the examination ended with ${code}\n` : `${errors.trim().split('\n').at(-1)}\n`);
    return code;
  }
  const diagnosis = JSON.parse(out) as Diagnosis;
  const result = exitCode(diagnosis, options.strict);
  process.stdout.write(options.json ? `${JSON.stringify({ ...diagnosis, ok: result === 0 }, null, 2)}\n` : printed(diagnosis));
  return result;
}
