// One worker that sends what is due to Azure's sandbox, in a process of its own, as in production: the metering of the build on
// the `ops` role, Azure's adapter with its guarded client, no rate of ours. Reads one line of JSON for each go, answers one.
// node bench/lib/submit-worker.mjs <admin url> <secret> <sandbox url> <instant> <seller as JSON>
import { createInterface } from 'node:readline';
import { Calls, createLogger, GuardedHttp, openDatabase, SilentNudger, Tasks } from '../../dist/libs/platform/src/index.js';
import { MarketplaceRegistry } from '../../dist/libs/marketplaces/core/src/index.js';
import { createAzureAdapter } from '../../dist/libs/marketplaces/azure/src/index.js';
import { Metering } from '../../dist/libs/metering/src/index.js';
import { cpuSeconds } from './bench.mjs';

const [adminUrl, secret, sandbox, instant, seller] = process.argv.slice(2);
const clock = { now: () => new Date(instant) };
const logger = createLogger('bench', 'error');
const azure = createAzureAdapter(
  { ...JSON.parse(seller), apiUrl: `${sandbox}/azure/api`, authorityUrl: `${sandbox}/azure/login` },
  { http: new GuardedHttp({ allow: [new URL(sandbox).host] }), clock, logger },
);
const db = await openDatabase({ adminUrl, secret });
const metering = new Metering({
  db,
  clock,
  tasks: new Tasks(clock, new SilentNudger()),
  calls: new Calls(db, clock),
  marketplaces: new MarketplaceRegistry([azure]),
  logger,
  options: { usageRates: { azure: null } },
});
console.log('{}');
for await (const line of createInterface({ input: process.stdin })) {
  if (line !== '{}') throw new Error(`not understood: ${line}`);
  const cpu = cpuSeconds(process.pid);
  const started = performance.now();
  while ((await metering.submitDue()) > 0);
  const seconds = (performance.now() - started) / 1000;
  console.log(JSON.stringify({ seconds, cpuSeconds: cpuSeconds(process.pid) - cpu }));
}
await db.close();
