// npm run bench -- <name> [options]: runs bench/<name>.mjs against the build.
import { existsSync, readdirSync } from 'node:fs';
import { bootstrap } from './bootstrap.mjs';
import { HouseError, inRoot, main, runNode } from './lib/house.mjs';

main(async () => {
  const [name, ...rest] = process.argv.slice(2);
  const known = existsSync(inRoot('bench'))
    ? readdirSync(inRoot('bench'))
        .filter((file) => file.endsWith('.mjs'))
        .map((file) => file.slice(0, -4))
    : [];
  if (!name || !known.includes(name))
    throw new HouseError(`name a benchmark: npm run bench -- <name>; there are: ${known.join(', ') || 'none yet'}`);
  await bootstrap();
  return (await runNode([inRoot('bench', `${name}.mjs`), ...rest])).code;
});
