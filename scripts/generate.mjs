// npm run generate [-- --check]: our own OpenAPI file from the code, and TypeScript types of every openapi/*.yaml.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bootstrap, buildAll } from './bootstrap.mjs';
import { HouseError, inRoot, main, root, runNode, withLock } from './lib/house.mjs';

const OWN = 'control-plane.yaml';
const checkOnly = process.argv.includes('--check');
const stale = [];

main(async () => {
  await bootstrap({ build: false });
  // The build may need the types that are made here, so its type errors are the types step's business.
  await withLock('bootstrap', () => buildAll({ tolerateTypeErrors: true, portal: false }));
  await ownApi();
  const { default: openapiTS, astToString, COMMENT_HEADER } = await import('openapi-typescript');
  const sources = existsSync(inRoot('openapi'))
    ? readdirSync(inRoot('openapi'))
        .filter((name) => name.endsWith('.yaml'))
        .sort()
    : [];
  for (const name of sources) {
    const target = inRoot('openapi/generated', `${basename(name, '.yaml')}.ts`);
    const text = `${COMMENT_HEADER}${astToString(await openapiTS(pathToFileURL(inRoot('openapi', name)), { silent: true }))}`;
    put(target, text);
  }
  const generated = existsSync(inRoot('openapi/generated')) ? readdirSync(inRoot('openapi/generated')) : [];
  for (const name of generated) {
    if (name.endsWith('.ts') && !sources.includes(`${basename(name, '.ts')}.yaml`)) stale.push(`openapi/generated/${name} has no source`);
  }
  if (stale.length === 0) {
    console.log(`${sources.length} API description(s), generated files ${checkOnly ? 'fresh' : 'written'}`);
    return 0;
  }
  throw new HouseError(`generated files are not fresh: ${stale.join(', ')}; run npm run generate and commit the result`);
});

/** The control plane describes itself: `dist/apps/control-plane/src/openapi.js` prints the YAML. */
async function ownApi() {
  const program = inRoot('dist/apps/control-plane/src/openapi.js');
  if (!existsSync(program)) return;
  const { code, text, out } = await runNode([program], { output: 'capture' });
  if (code !== 0 || !out.trim())
    throw new HouseError(
      `${relative(root, program)} did not print the API description: ${text.split('\n').find((line) => /Error/.test(line)) ?? 'it said nothing'}`,
    );
  put(inRoot('openapi', OWN), out);
}

function put(target, text) {
  const found = existsSync(target) ? readFileSync(target, 'utf8') : undefined;
  if (found === text) return;
  if (checkOnly) stale.push(relative(root, target));
  else {
    mkdirSync(inRoot('openapi/generated'), { recursive: true });
    writeFileSync(target, text);
  }
}
