// npm start: the sandbox and the control plane left running for a person, with their data in .berth/.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bootstrap } from './bootstrap.mjs';
import { HouseError, inRoot, main, onInterrupt, root } from './lib/house.mjs';
import { connectSandbox, sellerEnvironment } from './lib/sandbox-shop.mjs';
import { endAll, identify, isAlive } from './lib/processes.mjs';

const dataFolder = resolve(root, process.env.BERTH_DATA || '.berth');
const runFolder = join(dataFolder, 'run');
const logFolder = join(dataFolder, 'logs');

const HELP = `npm start: the marketplace sandbox and the control plane, left running until Ctrl-C; the next start goes on where this one ended.

  BERTH_DATA          folder of data and logs   ${dataFolder}
  BERTH_PORT          the control plane's port  4000
  BERTH_SANDBOX_PORT  the storefront's port     4010

All settings: docs/guides/settings.md. It takes no options.`;

main(async () => {
  const words = process.argv.slice(2);
  if (words.some((word) => ['--help', '-h', 'help'].includes(word))) return (console.log(HELP), 0);
  if (words.length > 0) throw new HouseError(`npm start takes no options and got ${words.join(' ')}; what can be set: npm start -- --help`);
  await bootstrap();
  mkdirSync(runFolder, { recursive: true });
  mkdirSync(logFolder, { recursive: true });
  await clearPredecessor();
  const ports = {
    sandbox: portOf('BERTH_SANDBOX_PORT', 4010),
    controlPlane: portOf('BERTH_PORT', 4000),
  };
  await mustBeFree(ports.sandbox, 'the marketplace sandbox', 'BERTH_SANDBOX_PORT');
  await mustBeFree(ports.controlPlane, 'the control plane', 'BERTH_PORT');
  record('start', process.pid);

  const mark = [process.env.BERTH_RUN_ID, `start-${randomBytes(8).toString('hex')}`].filter(Boolean).join('/');
  const sandboxUrl = `http://127.0.0.1:${ports.sandbox}`;
  const controlPlaneUrl = `http://127.0.0.1:${ports.controlPlane}`;
  const children = [];
  let wake = () => undefined;
  const over = new Promise((resolveOver) => (wake = resolveOver));
  onInterrupt((name) => wake({ code: 0, why: name }));

  const start = (name, program, args, env) => {
    if (!existsSync(inRoot(program))) throw new HouseError(`${program} is missing: the ${name} is not in this checkout`);
    const logFile = join(logFolder, `${name}.log`);
    const log = openSync(logFile, 'a');
    const from = statSync(logFile).size;
    // Straight into a file: the child does not notice when this process is killed. A group of its own: Ctrl-C comes to us alone.
    const child = spawn(process.execPath, [inRoot(program), ...args], {
      cwd: root,
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, BERTH_RUN_ID: mark, ...env },
    });
    closeSync(log);
    const running = { name, logFile, from, ...identify(child.pid), ended: false };
    record(name, child.pid);
    const stopShowing = showLog(logFile, from);
    child.once('exit', (code, signalName) => {
      running.ended = true;
      stopShowing();
      wake({ code: 1, why: `the ${name} ended by itself (${signalName ?? code}); its log: ${logFile}` });
    });
    children.push(running);
    return running;
  };

  let result;
  try {
    const sandbox = start('sandbox', 'dist/apps/marketplace-sandbox/src/main.js', [], {
      SANDBOX_PORT: String(ports.sandbox),
      SANDBOX_DATA: join(dataFolder, 'sandbox'),
    });
    result = await Promise.race([over, answers(sandbox, `${sandboxUrl}/sandbox/clock`)]);
    if (!result) {
      const controlPlane = start('control-plane', 'dist/apps/control-plane/src/main.js', ['--role', 'all'], {
        PORT: String(ports.controlPlane),
        BERTH_DATA: dataFolder,
        BERTH_SANDBOX_URL: sandboxUrl,
        BERTH_STOP_CELLS: 'true',
        ...(await sellerEnvironment(sandboxUrl, { signIn: true })),
      });
      result = await Promise.race([over, answers(controlPlane, `${controlPlaneUrl}/readyz`)]);
      if (!result) await connectSandbox(sandboxUrl, controlPlaneUrl);
    }
    if (!result) {
      const banner = bannerOf(children.at(-1));
      const operatorKey =
        banner.operatorKeyFile && existsSync(banner.operatorKeyFile) ? readFileSync(banner.operatorKeyFile, 'utf8').trim() : undefined;
      const said = [
        ['control plane', controlPlaneUrl],
        ['API description', `${controlPlaneUrl}/docs`],
        ['storefront', sandboxUrl],
        ['operator key', operatorKey ?? 'made at the first start; its file was taken away'],
        ['database', banner.database],
        ['queue', banner.queue],
        ['data and logs', dataFolder],
      ];
      console.log('\nBerth runs.');
      for (const [name, value] of said) if (value) console.log(`  ${name.padEnd(16)} ${value}`);
      console.log('Ctrl-C stops it; the next npm start goes on where this one ended.');
      result = await over;
    }
  } catch (error) {
    result = { code: 1, why: error instanceof HouseError ? error.message : String(error?.stack ?? error) };
  }

  console.log(result.code === 0 ? `\n${result.why}: stopping` : `\nerror: ${result.why}`);
  // The control plane first: it says good-bye to the sandbox's clock.
  for (const child of children.toReversed()) await endAll([child], 20_000);
  for (const name of [...children.map((child) => child.name), 'start']) rmSync(join(runFolder, `${name}.json`), { force: true });
  return result.code;
});

function record(name, pid) {
  const nonce = randomBytes(8).toString('hex');
  writeFileSync(join(runFolder, `${name}.json`), `${JSON.stringify({ name, nonce, ...identify(pid) })}\n`);
}

/** What a crashed predecessor left is ended; cells and the database are not listed here: the control plane adopts them. */
async function clearPredecessor() {
  const found = [];
  for (const file of readdirSync(runFolder).filter((name) => name.endsWith('.json'))) {
    const path = join(runFolder, file);
    try {
      const entry = JSON.parse(readFileSync(path, 'utf8'));
      if (Number.isInteger(entry.pid) && isAlive(entry)) found.push({ ...entry, path });
      else rmSync(path, { force: true });
    } catch {
      rmSync(path, { force: true });
    }
  }
  const other = found.find((entry) => entry.name === 'start' && entry.pid !== process.pid);
  if (other)
    throw new HouseError(
      `Berth already runs on ${dataFolder} (process ${other.pid}); stop it with Ctrl-C there, or choose another folder with BERTH_DATA`,
    );
  if (found.length === 0) return;
  console.log(`ending what a crashed predecessor left: ${found.map((entry) => `${entry.name} (${entry.pid})`).join(', ')}`);
  await endAll(found, 10_000);
  for (const { path } of found) rmSync(path, { force: true });
}

function portOf(name, otherwise) {
  const text = process.env[name] || String(otherwise);
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw new HouseError(`${name}=${text} is not a port; use a number from 1 to 65535`);
  return port;
}

async function mustBeFree(port, who, name) {
  const problem = await new Promise((resolveProblem) => {
    const server = createServer();
    server.once('error', (error) => resolveProblem(error.code));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolveProblem(undefined)));
  });
  if (problem)
    throw new HouseError(`port ${port} for ${who} cannot be used (${problem}); stop what uses it or choose another with ${name}=<port>`);
}

/** Undefined once the process answers; a fault when it does not within a minute. */
async function answers(child, url) {
  const until = performance.now() + 60_000;
  while (performance.now() < until && !child.ended) {
    const ok = await fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
      (answer) => answer.ok,
      () => false,
    );
    if (ok) return undefined;
    await sleep(100);
  }
  if (child.ended) return new Promise(() => undefined);
  return { code: 1, why: `the ${child.name} does not answer at ${url} after 60 s; its log: ${child.logFile}` };
}

/** The line of facts that a process writes once it is ready. */
function bannerOf({ logFile, from }) {
  const lines = readFileSync(logFile).subarray(from).toString('utf8').split('\n');
  return JSON.parse(lines.find((line) => line.startsWith('{"ready":true')) ?? '{}');
}

/** Shows what a process says to people; structured log lines stay in the file. */
function showLog(file, from) {
  let at = from;
  let rest = '';
  const buffer = Buffer.alloc(65_536);
  const look = () => {
    const fd = openSync(file, 'r');
    try {
      for (let read; (read = readSync(fd, buffer, 0, buffer.length, at)) > 0;) {
        at += read;
        const lines = (rest + buffer.toString('utf8', 0, read)).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (!line.startsWith('{')) console.log(line);
      }
    } finally {
      closeSync(fd);
    }
  };
  const timer = setInterval(look, 150);
  return () => {
    clearInterval(timer);
    look();
  };
}
