import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process told from a later one with the same number by its start time (field 22 of /proc/<pid>/stat). */
export function identify(pid) {
  const stat = readStat(pid);
  return { pid, startTicks: stat?.startTicks };
}

function readStat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0], parent: Number(fields[1]), startTicks: fields[19] };
  } catch {
    return undefined;
  }
}

/** A zombie is dead. */
export function isAlive({ pid, startTicks }) {
  if (existsSync('/proc/self/stat')) {
    const stat = readStat(pid);
    if (!stat || stat.state === 'Z' || stat.state === 'X') return false;
    return startTicks === undefined || startTicks === stat.startTicks;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

export function signal(target, name) {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, name);
  } catch {
    // It ended in between, or belongs to another user and is told by those who still live afterwards.
  }
}

export async function waitForEnd(targets, milliseconds) {
  const until = performance.now() + milliseconds;
  for (;;) {
    const living = targets.filter(isAlive);
    if (living.length === 0 || performance.now() > until) return living;
    await sleep(50);
  }
}

/** SIGTERM, then SIGKILL for what is left. Returns those that needed the second. */
export async function endAll(targets, milliseconds = 10_000) {
  for (const target of targets) signal(target, 'SIGTERM');
  const stubborn = await waitForEnd(targets, milliseconds);
  for (const target of stubborn) signal(target, 'SIGKILL');
  await waitForEnd(stubborn, 2_000);
  return stubborn;
}

/**
 * Every living process of a run: those whose environment carries the run's mark (or names the run's own folder), and all their
 * descendants. Cells and servers are detached on purpose, so neither the process group nor the parent tells them.
 */
export function processesOfRun(mark, folder) {
  if (!existsSync('/proc/self/stat')) return [];
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  const stats = new Map(all.map((pid) => [pid, readStat(pid)]).filter(([, stat]) => stat && stat.state !== 'Z'));
  const found = new Set();
  for (const pid of stats.keys()) {
    if (pid !== process.pid && carries(pid, mark, folder)) found.add(pid);
  }
  for (let grown = true; grown;) {
    grown = false;
    for (const [pid, stat] of stats) {
      if (pid !== process.pid && !found.has(pid) && found.has(stat.parent)) {
        found.add(pid);
        grown = true;
      }
    }
  }
  return [...found].map((pid) => ({ ...identify(pid), command: commandLine(pid) }));
}

function carries(pid, mark, folder) {
  try {
    if (folder && commandLine(pid, Infinity).includes(`${folder}/`)) return true;
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
    return environment.includes(`BERTH_RUN_ID=${mark}`) || (folder !== undefined && environment.includes(`=${folder}/`));
  } catch {
    return false;
  }
}

function commandLine(pid, length = 120) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim().slice(0, length);
  } catch {
    return '';
  }
}
