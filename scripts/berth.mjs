// npm run berth -- <command>: the operator's command line, built first where it is stale.
import { bootstrap } from './bootstrap.mjs';
import { inRoot, main, runNode } from './lib/house.mjs';

main(async () => {
  await bootstrap();
  return (await runNode([inRoot('dist/apps/cli/src/main.js'), ...process.argv.slice(2)])).code;
});
