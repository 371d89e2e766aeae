import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { identify, isAlive } from './processes.mjs';

export const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');
export const inRoot = (...parts) => join(root, ...parts);
export const tsc = inRoot('node_modules/tsgo/bin/tsc');

/** A fault that a person can mend: one line with cause and remedy. */
export class HouseError extends Error {}

/** Runs a script's body: a HouseError is one line, anything else a stack, both end non-zero. */
export function main(body) {
  body().then(
    (code) => process.exit(code ?? 0),
    (error) => {
      console.error(error instanceof HouseError ? `error: ${error.message}` : error);
      process.exit(1);
    },
  );
}

export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;

/** Runs a program to its end. `output`: 'inherit' shows it, 'capture' keeps it. */
export function run(command, args, { output = 'inherit', env = process.env, cwd = root, ...rest } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: output === 'inherit' ? 'inherit' : ['ignore', 'pipe', 'pipe'], ...rest });
    let text = '';
    let out = '';
    child.stdout?.on('data', (chunk) => {
      text += chunk;
      out += chunk;
    });
    child.stderr?.on('data', (chunk) => (text += chunk));
    child.once('error', (error) => resolve({ code: 127, text: error.message, out }));
    child.once('close', (code, name) => resolve({ code: code ?? (name ? 130 : 1), text, out }));
  });
}

export const runNode = (args, options) => run(process.execPath, args, options);

/** Keeps an impatient person company during a long quiet step. */
export function heartbeat(text, everyMilliseconds = 10_000) {
  const started = performance.now();
  const timer = setInterval(() => console.log(`  … ${text} (${seconds(performance.now() - started)})`), everyMilliseconds);
  return () => {
    clearInterval(timer);
    return performance.now() - started;
  };
}

/** One holder at a time over all processes of this checkout; a dead holder's lock is taken over. */
export async function withLock(name, body) {
  const file = inRoot('.tmp', `${name}.lock`);
  mkdirSync(dirname(file), { recursive: true });
  let told = false;
  for (;;) {
    try {
      writeFileSync(file, JSON.stringify(identify(process.pid)), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code === 'EACCES') throw new HouseError(`${dirname(file)} cannot be written to; run as the user who owns the checkout`);
      if (error.code !== 'EEXIST') throw error;
      let holder;
      try {
        holder = JSON.parse(readFileSync(file, 'utf8'));
      } catch {
        // Being written at this moment, or cut short: the latter when it is old.
        if (existsSync(file) && Date.now() - statSync(file).mtimeMs < 2_000) holder = { pid: process.pid };
      }
      if (!holder || !isAlive(holder)) rmSync(file, { force: true });
      else {
        if (!told && holder.pid !== process.pid) console.log(`waiting for process ${holder.pid}, which prepares this checkout`);
        told = true;
        await sleep(200);
      }
    }
  }
  const release = () => rmSync(file, { force: true });
  process.once('exit', release);
  try {
    return await body();
  } finally {
    process.removeListener('exit', release);
    release();
  }
}

export function findOnPath(names, path = process.env.PATH ?? '') {
  for (const name of names) {
    for (const folder of path.split(delimiter).filter(Boolean)) {
      const file = join(folder, name);
      try {
        accessSync(file, constants.X_OK);
        if (statSync(file).isFile()) return file;
      } catch {
        // not here
      }
    }
  }
  return undefined;
}

export const redisServer = () => findOnPath(['redis-server', 'valkey-server']);
export const terraformProgram = () => findOnPath(['terraform', 'tofu']);

export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  const line = (row) =>
    row
      .map((cell, i) => (typeof cell === 'number' ? String(cell).padStart(widths[i]) : String(cell).padEnd(widths[i])))
      .join('  ')
      .trimEnd();
  return [line(rows[0]), widths.map((w) => '-'.repeat(w)).join('  '), ...rows.slice(1).map(line)].join('\n');
}

/** Ctrl-C and its like become one call; the second one ends at once. */
export function onInterrupt(handler) {
  let asked = false;
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(name, () => {
      if (asked && name === 'SIGINT') process.exit(130);
      if (!asked) {
        asked = true;
        handler(name);
      }
    });
  }
}
