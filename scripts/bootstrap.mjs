// Makes this checkout ready to run: the Node version, the packages, the build. Needs nothing but Node itself.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { heartbeat, HouseError, inRoot, main, root, run, runNode, seconds, tsc, withLock } from './lib/house.mjs';

const packageStamp = inRoot('node_modules', '.berth-stamp');
const buildStamp = inRoot('dist', '.stamp.json');
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

export async function bootstrap({ build = true } = {}) {
  checkNode();
  // The cheap look needs no lock: most starts find all in place.
  if (packagesFresh() && (!build || buildFresh())) return;
  await withLock('bootstrap', async () => {
    if (!packagesFresh()) await install();
    if (build) await buildAll();
  });
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  throw new HouseError(
    `Node ${process.versions.node} is too old: Berth needs 20.19 or newer; install it (nodejs.org) and run the command again`,
  );
}

const wantedPackages = () =>
  createHash('sha256')
    .update(readFileSync(inRoot('package-lock.json')))
    .update(`${process.platform}-${process.arch}`)
    .digest('hex');

function packagesFresh() {
  if (!existsSync(inRoot('node_modules'))) return false;
  const wanted = wantedPackages();
  if (existsSync(packageStamp) && readFileSync(packageStamp, 'utf8').trim() === wanted) return true;
  if (!hiddenLockMatches()) return false;
  writeFileSync(packageStamp, `${wanted}\n`);
  return true;
}

/** Packages put there by `npm install` are good too when npm's own record shows the wanted versions. */
function hiddenLockMatches() {
  const record = inRoot('node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const wanted = readJson(inRoot('package-lock.json')).packages;
  const found = readJson(record).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    if (!found[path]) return entry.optional === true || entry.peer === true;
    return found[path].version === entry.version && existsSync(inRoot(path));
  });
}

async function install() {
  console.log('installing packages (npm ci); the first time this takes about a minute');
  const stop = heartbeat('npm ci');
  // Started by npm, we use that very npm; development packages are wanted whatever NODE_ENV says.
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  const env = { ...process.env, NODE_ENV: '' };
  const result = npm?.endsWith('.js')
    ? await runNode([npm, ...args], { output: 'capture', env })
    : await run('npm', args, { output: 'capture', env });
  const took = stop();
  if (result.code !== 0) {
    console.error(result.text.trim().split('\n').slice(-25).join('\n'));
    throw new HouseError(
      'npm ci failed (its last lines are above); check the network or the npm registry setting, then run the command again',
    );
  }
  writeFileSync(packageStamp, `${wantedPackages()}\n`);
  console.log(`packages installed in ${seconds(took)}`);
}

const SERVER_ROOMS = ['apps', 'libs', 'migrations', 'openapi', 'test'];
const PORTAL_ROOMS = ['apps/portal', 'openapi'];
const portalConfig = () => ['ts', 'mts', 'js', 'mjs'].map((end) => inRoot('apps/portal', `vite.config.${end}`)).find(existsSync);

function* files(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name === 'node_modules' || entry.name === 'dist' || entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else if (entry.isFile()) yield path;
  }
}

function hashOf(paths) {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(relative(root, path)).update('\0').update(readFileSync(path)).update('\0');
  return hash.digest('hex');
}

const isServerSource = (path) => ['.ts', '.json'].includes(extname(path)) && !relative(root, path).startsWith('apps/portal/');
const serverSources = () => SERVER_ROOMS.flatMap((room) => [...files(inRoot(room))].filter(isServerSource));
const commonFiles = () => [inRoot('package-lock.json'), inRoot('tsconfig.json')].filter(existsSync);

function wantedBuild() {
  return {
    server: hashOf([...commonFiles(), ...serverSources()]),
    portal: portalConfig() ? hashOf([inRoot('package-lock.json'), ...PORTAL_ROOMS.flatMap((room) => [...files(inRoot(room))])]) : 'none',
  };
}

function foundBuild() {
  try {
    return readJson(buildStamp);
  } catch {
    return {};
  }
}

function buildFresh() {
  const wanted = wantedBuild();
  const found = foundBuild();
  return wanted.server === found.server && wanted.portal === found.portal;
}

export async function buildAll({ tolerateTypeErrors = false, portal = true } = {}) {
  const wanted = wantedBuild();
  const found = foundBuild();
  const stamp = { ...found };
  if (wanted.server !== found.server) {
    const stop = heartbeat('compiling');
    const result = await runNode([tsc, '-p', 'tsconfig.json'], { output: 'capture' });
    removeOrphans();
    const took = stop();
    if (result.code !== 0 && !tolerateTypeErrors) {
      console.error(result.text.trim().split('\n').slice(0, 40).join('\n'));
      throw new HouseError('the build found type errors (above); mend them and run the command again');
    }
    stamp.server = result.code === 0 ? wanted.server : undefined;
    console.log(`compiled in ${seconds(took)}`);
  }
  if (portal && wanted.portal !== found.portal && wanted.portal !== 'none') {
    const stop = heartbeat('building the portal');
    const result = await runNode(
      [inRoot('node_modules/vite/bin/vite.js'), 'build', '--logLevel', 'warn', '--config', portalConfig(), 'apps/portal'],
      { output: 'capture' },
    );
    const took = stop();
    if (result.code !== 0) {
      console.error(result.text.trim().split('\n').slice(-30).join('\n'));
      throw new HouseError('the build of the portal failed (above); mend it and run the command again');
    }
    stamp.portal = wanted.portal;
    console.log(`portal built in ${seconds(took)}`);
  }
  if (wanted.portal === 'none') stamp.portal = 'none';
  mkdirSync(dirname(buildStamp), { recursive: true });
  writeFileSync(buildStamp, `${JSON.stringify(stamp)}\n`);
}

/** A compiled file whose source was removed or renamed would still be found by the processes. */
function removeOrphans() {
  for (const room of SERVER_ROOMS) {
    for (const path of files(inRoot('dist', room))) {
      const source = inRoot(relative(inRoot('dist'), path)).replace(/\.js(\.map)?$/, '.ts');
      if (/\.js(\.map)?$/.test(path) && !path.startsWith(inRoot('dist/apps/portal/')) && !existsSync(source)) rmSync(path);
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(() => bootstrap());
