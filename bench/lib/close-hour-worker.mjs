// One worker that closes what is due, in a process of its own, as in production: the metering of the build on the `ops` role, with
// Azure's adapter, which here builds wire items and sends nothing. Reads an instant a line, answers one of JSON for each; its highest
// memory is that of its whole life.
// node bench/lib/close-hour-worker.mjs <admin url> <secret>
import { createInterface } from 'node:readline';
import { Calls, createLogger, openDatabase, SilentNudger, Tasks } from '../../dist/libs/platform/src/index.js';
import { MarketplaceRegistry } from '../../dist/libs/marketplaces/core/src/index.js';
import { createAzureAdapter } from '../../dist/libs/marketplaces/azure/src/index.js';
import { Metering } from '../../dist/libs/metering/src/index.js';

const [adminUrl, secret] = process.argv.slice(2);
let instant;
const clock = { now: () => new Date(instant) };
const nowhere = () => Promise.reject(new Error('closing asks nobody'));
const azure = createAzureAdapter(
  {
    apiUrl: 'http://127.0.0.1:9',
    authorityUrl: 'http://127.0.0.1:9',
    tenantId: '00000000-0000-4000-8000-000000000001',
    clientId: '00000000-0000-4000-8000-000000000002',
    clientSecret: 'not used',
  },
  { http: { request: nowhere }, clock },
);
const db = await openDatabase({ adminUrl, secret });
const metering = new Metering({
  db,
  clock,
  tasks: new Tasks(clock, new SilentNudger()),
  calls: new Calls(db, clock),
  marketplaces: new MarketplaceRegistry([azure]),
  logger: createLogger('bench', 'error'),
});
console.log('{}');
for await (const line of createInterface({ input: process.stdin })) {
  instant = line;
  const started = performance.now();
  const cpu = process.cpuUsage();
  await metering.closeDueHours();
  const used = process.cpuUsage(cpu);
  console.log(
    JSON.stringify({
      seconds: (performance.now() - started) / 1000,
      cpuSeconds: (used.user + used.system) / 1e6,
      rssMb: process.resourceUsage().maxRSS / 1024,
    }),
  );
}
await db.close();
