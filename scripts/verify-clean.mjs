// npm run verify:clean: the two commands from fresh clones of HEAD, as root and as a plain user, with and without Redis.
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, createWriteStream } from 'node:fs';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { HouseError, main, onInterrupt, redisServer, root, run, seconds, table } from './lib/house.mjs';
import { endAll, processesOfRun } from './lib/processes.mjs';

const PLAIN = { uid: 65534, gid: 65534 };
const REDIS_PROGRAMS = /^(redis|valkey)-/;
const asRoot = process.getuid?.() === 0;
const keep = process.argv.includes('--keep');
const words = process.argv.slice(2).filter((word) => !word.startsWith('--'));

main(async () => {
  const dirty = await run('git', ['status', '--porcelain'], { output: 'capture' });
  if (dirty.out.trim()) console.log('note: the working tree has changes that are not committed; what is verified is HEAD');
  if (!redisServer())
    throw new HouseError(
      'no redis-server is on the PATH, so the half with Redis cannot be run; install it (Debian: apt-get install redis-server)',
    );

  const users = asRoot ? ['root', 'plain user'] : ['plain user'];
  const all = users.flatMap((user) => ['with Redis', 'without Redis'].map((redis) => ({ user, redis })));
  const chosen = words.length ? all.filter(({ user, redis }) => words.every((word) => `${user} ${redis}`.split(' ').includes(word))) : all;
  if (chosen.length === 0) throw new HouseError(`no combination fits ${words.join(' ')}; words are: root, plain, with, without`);

  const folder = mkdtempSync(join(tmpdir(), 'berth-verify-'));
  chmodSync(folder, 0o755);
  let stopping = false;
  let current;
  onInterrupt(() => {
    stopping = true;
    if (current) void endAll(processesOfRun(current), 5_000);
  });
  const rows = [['user', 'redis', 'command', 'result', 'time']];
  let failed = false;
  try {
    const registry = (await run('npm', ['config', 'get', 'registry'], { output: 'capture' })).out.trim();
    for (const { user, redis } of chosen) {
      const who = user === 'plain user' && asRoot ? PLAIN : undefined;
      const place = join(folder, `${user} ${redis}`.replaceAll(' ', '-'));
      const clone = join(place, 'berth');
      mkdirSync(join(place, 'home'), { recursive: true });
      mkdirSync(join(place, 'tmp'));
      chmodSync(join(place, 'tmp'), 0o1777);
      const cloned = await run('git', ['clone', '--quiet', '--no-hardlinks', root, clone], { output: 'capture' });
      if (cloned.code !== 0) throw new HouseError(`git clone failed: ${cloned.text.trim().split('\n').at(-1)}`);
      const cache = join(folder, `npm-cache-${who ? 'plain' : 'own'}`);
      mkdirSync(cache, { recursive: true });
      if (who) {
        chownSync(cache, who.uid, who.gid);
        const owned = await run('chown', ['-R', `${who.uid}:${who.gid}`, place], { output: 'capture' });
        if (owned.code !== 0) throw new HouseError(`chown failed: ${owned.text.trim()}`);
      }
      const path = pathFor(redis === 'with Redis', join(place, 'bin'));
      for (const [command, args] of [
        ['npm run demo', ['run', 'demo']],
        ['npm test', ['test']],
      ]) {
        if (stopping) throw new HouseError('interrupted');
        const mark = `verify-${randomBytes(8).toString('hex')}`;
        current = mark;
        const log = join(folder, `${user}-${redis}-${command}.log`.replaceAll(' ', '-'));
        console.log(`${user}, ${redis}: ${command}`);
        const started = performance.now();
        const { code, lastLine } = await runLogged('npm', args, {
          log,
          cwd: clone,
          env: environment({ path, home: join(place, 'home'), temp: join(place, 'tmp'), cache, registry, mark }),
          ...who,
        });
        const time = performance.now() - started;
        const left = processesOfRun(mark, place);
        await endAll(left, 5_000);
        const bad = code !== 0 || left.length > 0;
        failed ||= bad;
        const result = code !== 0 ? `failed (${code})` : left.length ? `left ${left.length} process(es) running` : 'ok';
        rows.push([user, redis, command, result, seconds(time)]);
        console.log(`  ${result} in ${seconds(time)}: ${lastLine}${bad ? `\n  log: ${log}` : ''}`);
        for (const { pid, command: text } of left) console.log(`  left: ${pid} ${text}`);
      }
      if (!keep) rmSync(clone, { recursive: true, force: true });
    }
  } finally {
    if (!keep && !failed) rmSync(folder, { recursive: true, force: true });
    else console.log(`logs are kept in ${folder}`);
  }
  console.log('');
  console.log(table(rows));
  if (!asRoot) console.log('The root half was not run: that needs to be started by root.');
  return failed ? 1 : 0;
});

/** The PATH itself, or one folder of links to all its programs but those of Redis. */
function pathFor(withRedis, folder) {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((name) => name && existsSync(name) && !name.includes('node_modules'));
  if (withRedis) return folders.join(delimiter);
  mkdirSync(folder, { recursive: true });
  for (const from of folders) {
    for (const name of readdirSync(from)) {
      if (REDIS_PROGRAMS.test(name) || existsSync(join(folder, name))) continue;
      try {
        symlinkSync(join(from, name), join(folder, name));
      } catch {
        // A dangling link of the same name; the first one stays.
      }
    }
  }
  return folder;
}

/** As on a bare machine: nothing of ours and nothing of npm's is handed down but the registry and the certificates. */
function environment({ path, home, temp, cache, registry, mark }) {
  const kept = Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_|berth_|database_url|redis_url|node_env|node_options|init_cwd|color|home|path|tmpdir|user|logname|xdg_)/i.test(name),
  );
  return {
    ...Object.fromEntries(kept),
    PATH: path,
    HOME: home,
    TMPDIR: temp,
    BERTH_RUN_ID: mark,
    npm_config_cache: cache,
    npm_config_prefer_offline: 'true',
    npm_config_update_notifier: 'false',
    ...(registry ? { npm_config_registry: registry } : {}),
  };
}

function runLogged(command, args, { log, ...options }) {
  return new Promise((resolve) => {
    const file = createWriteStream(log);
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let tail = '';
    const take = (chunk) => {
      file.write(chunk);
      tail = (tail + chunk).slice(-2_000);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.once('error', (error) => take(error.message));
    child.once('close', (code) => {
      file.end();
      resolve({ code: code ?? 1, lastLine: tail.trim().split('\n').at(-1) ?? '' });
    });
  });
}
