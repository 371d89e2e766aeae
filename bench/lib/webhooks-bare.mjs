// The yardstick of bench/webhooks.mjs: a bare Fastify that answers once one insert has been committed. It verifies nothing.
import Fastify from 'fastify';
import pg from 'pg';

const [url, size] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString: url, max: Number(size) });
const app = Fastify();
app.post('/webhooks/azure', async (request) => {
  await pool.query('insert into hooks (id, body) values ($1, $2)', [request.body.id, JSON.stringify(request.body)]);
  return '';
});
await app.listen({ host: '127.0.0.1', port: 0 });
console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${app.server.address().port}` }));
