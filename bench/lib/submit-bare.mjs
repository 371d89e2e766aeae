// The loop that a seller would write: sends what waits in batches, as many at once as ours, and looks whether each was accepted.
// With a database it reads the prepared items there and stores each answer with its item, both as a set, with a commit for each
// batch; without one it has the records in memory and stores nothing. Reads a line of JSON for each go, answers one.
// node bench/lib/submit-bare.mjs <sandbox url> <seller as JSON> <batches at once> [<database url>]
import { createInterface } from 'node:readline';
import pg from 'pg';
import { Pool } from 'undici';
import { cpuSeconds } from './bench.mjs';

const BATCH = 25;
const RESOURCE = '20e940b3-4c77-4b0b-9a53-9e16a1b010a7';
const [sandbox, given, atOnce, database] = process.argv.slice(2);
const seller = JSON.parse(given);
const http = new Pool(sandbox, { connections: Number(atOnce) });
const db = database && new pg.Pool({ connectionString: database, max: Number(atOnce) });
const login = await http.request({
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

async function send(bodies) {
  const answer = await http.request({
    method: 'POST',
    path: '/azure/api/batchUsageEvent?api-version=2018-08-31',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: `{"request":[${bodies.join(',')}]}`,
  });
  const { result } = await answer.body.json();
  const bad = result?.find((r) => r.status !== 'Accepted');
  if (answer.statusCode !== 200 || bad) throw new Error(`not accepted: ${answer.statusCode} ${JSON.stringify(bad)}`);
  return result;
}

const PAGE = 1_000;
/** What waits, by deadline, behind the last one that was read. */
const READ = {
  name: 'read',
  text: `select item_id, hard_at::text, hour::text, wire ->> 'body' as body from submission_items
          where settled_at is null and marketplace = 'azure' and (hard_at, hour, item_id) > ($1, $2, $3) order by hard_at, hour, item_id limit ${PAGE}`,
};
const STORE = {
  name: 'store',
  text: `update submission_items i set state = 'accepted', receipt = u.receipt, accepted_quantity = u.quantity, settled_at = now()
           from unnest($1::uuid[], $2::text[], $3::numeric[]) as u(id, receipt, quantity) where i.item_id = u.id`,
};

/** Sends what waits; a page is read once for all senders. */
async function sendStored() {
  let last = ['-infinity', '-infinity', '00000000-0000-0000-0000-000000000000'];
  let page = [];
  let reading = null;
  let sent = 0;
  const read = async () => {
    page = (await db.query({ ...READ, values: last })).rows;
    if (page.length > 0) last = ['hard_at', 'hour', 'item_id'].map((column) => page.at(-1)[column]);
  };
  const next = async () => {
    if (page.length === 0) await (reading ??= read().finally(() => (reading = null)));
    return page.splice(0, BATCH);
  };
  const sender = async () => {
    for (let batch; (batch = await next()).length > 0;) {
      const result = await send(batch.map((item) => item.body));
      const values = [batch.map((item) => item.item_id), result.map((r) => r.usageEventId), result.map((r) => r.quantity)];
      await db.query({ ...STORE, values });
      sent += batch.length;
    }
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, sender));
  return sent;
}

async function sendFromMemory(bodies) {
  let next = 0;
  const sender = async () => {
    for (let from; (from = next) < bodies.length;) {
      next += BATCH;
      await send(bodies.slice(from, from + BATCH));
    }
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, sender));
  return bodies.length;
}

console.log('{}');
for await (const line of createInterface({ input: process.stdin })) {
  const cpu = cpuSeconds(process.pid);
  const started = performance.now();
  const sent = await (db ? sendStored() : sendFromMemory(JSON.parse(line)));
  const seconds = (performance.now() - started) / 1000;
  console.log(JSON.stringify({ sent, seconds, cpuSeconds: cpuSeconds(process.pid) - cpu }));
}
await http.close();
await db?.end();
