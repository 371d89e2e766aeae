// The loop that a seller would write: it has the records in memory, sends them in batches, as many at once as ours, and looks
// whether each was accepted. Nothing is stored. Reads one line of JSON (bodies of records) for each go, answers one.
// node bench/lib/submit-bare.mjs <sandbox url> <seller as JSON> <batches at once>
import { createInterface } from 'node:readline';
import { Pool } from 'undici';
import { cpuSeconds } from './bench.mjs';

const BATCH = 25;
const RESOURCE = '20e940b3-4c77-4b0b-9a53-9e16a1b010a7';
const [sandbox, given, atOnce] = process.argv.slice(2);
const seller = JSON.parse(given);
const pool = new Pool(sandbox, { connections: Number(atOnce) });
const login = await pool.request({
  method: 'POST',
  path: `/azure/login/${seller.tenantId}/oauth2/v2.0/token`,
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: seller.clientId,
    client_secret: seller.clientSecret,
    scope: `${RESOURCE}/.default`,
  }).toString(),
});
const token = (await login.body.json()).access_token;
if (!token) throw new Error('no token');
console.log('{}');
for await (const line of createInterface({ input: process.stdin })) {
  const bodies = JSON.parse(line);
  const cpu = cpuSeconds(process.pid);
  const started = performance.now();
  let next = 0;
  const sender = async () => {
    for (let from; (from = next) < bodies.length;) {
      next += BATCH;
      const answer = await pool.request({
        method: 'POST',
        path: '/azure/api/batchUsageEvent?api-version=2018-08-31',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: `{"request":[${bodies.slice(from, from + BATCH).join(',')}]}`,
      });
      const { result } = await answer.body.json();
      const bad = result?.find((r) => r.status !== 'Accepted');
      if (answer.statusCode !== 200 || bad) throw new Error(`not accepted: ${answer.statusCode} ${JSON.stringify(bad)}`);
    }
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, sender));
  const seconds = (performance.now() - started) / 1000;
  console.log(JSON.stringify({ seconds, cpuSeconds: cpuSeconds(process.pid) - cpu }));
}
await pool.close();
