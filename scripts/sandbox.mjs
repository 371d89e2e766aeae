// npm run sandbox: the marketplaces alone, in the foreground, for whatever client one has. Its README lists the variables.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { bootstrap } from './bootstrap.mjs';
import { inRoot, main, onInterrupt } from './lib/house.mjs';

main(async () => {
  await bootstrap();
  // A group of its own: Ctrl-C comes to us alone, and we end it once.
  const child = spawn(process.execPath, [inRoot('dist/apps/marketplace-sandbox/src/main.js')], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onInterrupt(() => child.kill('SIGTERM'));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { url, pubsub, seed } = JSON.parse(line);
    console.log(`The marketplace sandbox runs.
  storefront       ${url}
  description      ${url}/openapi.json
  Azure            ${url}/azure/api, authority ${url}/azure/login
  Google Cloud     ${url}/gcp/procurement, ${url}/gcp/servicecontrol${pubsub ? `, Pub/Sub ${pubsub}` : ''}
  AWS              ${url}/aws/metering/
  seed of faults   ${seed} (SANDBOX_SEED sets it)
Ctrl-C stops it.`);
  });
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? (signal === 'SIGTERM' ? 0 : 1)));
    child.once('error', () => resolve(1));
  });
});
