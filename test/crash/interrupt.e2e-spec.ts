import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { processesIn } from '../../crash/count.mjs';

/** Polls with a bound; answers the first value that is there. */
async function until<T>(what: string, ask: () => T | undefined, ms = 120_000): Promise<T> {
  for (const end = performance.now() + ms; performance.now() < end;) {
    const value = ask();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${what}: not within ${ms} ms`);
}

/** Of the control planes that the run has started. */
function dataDirOf(pid: number): string | undefined {
  for (const name of readdirSync('/proc').filter((one) => /^\d+$/.test(one))) {
    try {
      if (Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))?.[1]) !== pid) continue;
      const given = readFileSync(`/proc/${name}/environ`, 'utf8')
        .split('\0')
        .find((line) => line.startsWith('CRASH_WORKER='));
      if (given) return (JSON.parse(given.slice('CRASH_WORKER='.length)) as { dataDir: string }).dataDir;
    } catch {
      // It has ended meanwhile.
    }
  }
  return undefined;
}

describe('npm run crash-matrix that is stopped by hand', () => {
  let run: ChildProcess | undefined;
  afterEach(() => run?.kill('SIGKILL'));

  it.each([
    ['SIGINT', 'terraform'],
    ['SIGTERM', 'local'],
  ] as const)(
    'by %s leaves neither a cell of the driver %s, nor anything else',
    async (signal, driver) => {
      const args = ['--driver', driver, '--moment', 'intent', '--no-page'];
      run = spawn(process.execPath, [join(projectRoot(), 'scripts/crash-matrix.mjs'), ...args], { stdio: 'ignore' });
      const ended = new Promise<number | null>((resolve) => run!.once('exit', resolve));
      const running = (): void => {
        if (run!.exitCode !== null) throw new Error(`the run ended by itself with ${run!.exitCode}`);
      };
      const dataDir = await until('a control plane', () => {
        running();
        return dataDirOf(run!.pid!);
      });
      const cells = driver === 'terraform' ? 'terraform/cells' : '/cells';
      const cell = await until(`a cell of ${driver}`, () =>
        processesIn(dataDir).find(({ command }) => command.includes(cells) && command.includes(' --berth-cell=')),
      );
      expect(cell.pid).toBeGreaterThan(0);
      run.kill(signal);
      expect(await ended).toBe(130);
      expect(processesIn(dirname(dataDir)).map(({ command }) => command)).toEqual([]);
      expect(existsSync(dirname(dataDir))).toBe(false);
    },
    180_000,
  );
});
