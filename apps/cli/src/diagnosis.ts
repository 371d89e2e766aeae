import { oneLine } from './text.js';

export interface Check {
  check: string;
  result: 'pass' | 'warn' | 'fail' | 'unknown';
  detail: string;
  remedy?: string;
}

export interface Diagnosis {
  reports: { marketplace: string; checks: Check[] }[];
  /** Asked for by `all` and not configured. */
  skipped: string[];
}

const RESULTS = ['pass', 'warn', 'fail', 'unknown'] as const;

export function exitCode(diagnosis: Diagnosis, strict: boolean): number {
  const results = diagnosis.reports.flatMap(({ checks }) => checks.map(({ result }) => result));
  if (results.includes('fail')) return 1;
  return strict && results.some((result) => result !== 'pass') ? 1 : 0;
}

/** A table for each marketplace; below a check that does not pass stands what to do. */
export function printed({ reports, skipped }: Diagnosis): string {
  const all = reports.flatMap(({ checks }) => checks);
  const width = Math.max(0, ...all.map(({ check }) => check.length));
  const lines = reports.flatMap(({ marketplace, checks }) => [
    marketplace,
    ...checks.flatMap(({ check, result, detail, remedy }) => [
      `  ${(result === 'fail' ? 'FAIL' : result).padEnd(7)}  ${check.padEnd(width)}  ${oneLine(detail)}`,
      ...(result !== 'pass' && remedy ? [`  ${''.padEnd(7)}  ${''.padEnd(width)}  -> ${oneLine(remedy)}`] : []),
    ]),
    '',
  ]);
  const count = (result: Check['result']): number => all.filter((one) => one.result === result).length;
  return [
    ...lines,
    ...skipped.map((name) => `${name}: not configured, skipped`),
    RESULTS.map((result) => `${count(result)} ${result}`).join(', '),
    '',
  ].join('\n');
}
