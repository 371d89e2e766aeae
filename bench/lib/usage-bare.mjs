// The yardstick of bench/usage.mjs: what the database and the server cost when nobody asks who posts, whose it is, or whether it is right.
// A bare Fastify that takes one event a request, with group commit; and a loop that inserts batches, without HTTP.
import { createHash } from 'node:crypto';
import Fastify from 'fastify';
import pg from 'pg';
import { sample } from './usage-rig.mjs';

const [url, size, ...placements] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString: url, max: Number(size) });

const STORE = `
  with fresh as (
    insert into usage_dedupe (principal, source, event_id, tenant_id, content_hash, received_at)
    select 'bare', s, i, t, h, now() from unnest($1::text[], $2::text[], $4::uuid[], $11::text[]) as u(s, i, t, h) on conflict do nothing returning 1)
  insert into usage_events (principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, received_at, content_hash)
  select 'bare', s, i, o, t, p, p, m, k, v, e, q, now(), h
    from unnest($1::text[], $2::text[], $3::timestamptz[], $4::uuid[], $5::text[], $6::text[], $7::numeric[], $8::text[], $9::numeric[], $10::uuid[], $11::text[])
      as u(s, i, o, t, m, k, v, e, q, p, h)`;

function store(events) {
  const hash = (e) => createHash('sha256').update(e.id).digest('hex');
  const columns = [
    (e) => e.source,
    (e) => e.id,
    (e) => e.time,
    (e) => e.subject,
    (e) => e.data.metric,
    (e) => e.data.kind,
    (e) => e.data.value,
    (e) => e.data.epoch,
    (e) => e.sequence,
    (e) => e.subject,
    hash,
  ];
  return pool.query({ name: 'store', text: STORE, values: columns.map((of) => events.map(of)) });
}

const waiting = [];
let underWay = 0;
async function next() {
  while (waiting.length > 0 && underWay < 2) {
    const group = waiting.splice(0, 2_000);
    underWay += 1;
    store(group.map((one) => one.event))
      .then(
        () => group.forEach((one) => one.resolve()),
        (error) => group.forEach((one) => one.reject(error)),
      )
      .finally(() => {
        underWay -= 1;
        void next();
      });
  }
}

const app = Fastify();
app.addContentTypeParser('application/cloudevents+json', { parseAs: 'string' }, app.getDefaultJsonParser('ignore', 'ignore'));
app.post('/api/v1/usage-events', async (request) => {
  await new Promise((resolve, reject) => {
    waiting.push({ event: request.body, resolve, reject });
    if (waiting.length === 1) setImmediate(next);
  });
  return { results: [{ index: 0, id: request.body.id, outcome: 'accepted' }] };
});
/** Inserts batches of so many for so long, on so many connections; answers how many events. */
app.post('/insert', async (request) => {
  const { events, seconds, connections } = request.body;
  const until = performance.now() + seconds * 1000;
  let done = 0;
  const next = sample(placements);
  const loop = async () => {
    while (performance.now() < until) {
      await store(Array.from({ length: events }, next));
      done += events;
    }
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: connections }, loop));
  return { done, seconds: (performance.now() - began) / 1000 };
});
await app.listen({ host: '127.0.0.1', port: 0 });
console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${app.server.address().port}` }));
