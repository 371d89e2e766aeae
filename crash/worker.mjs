// One control plane of the crash matrix: runs what is due, and keeps terraform's state. It is killed from outside and knows nothing of it.
import { createServer } from 'node:http';
import { SilentNudger, TaskRunner } from '../dist/libs/platform/src/index.js';
import { PgStateWire, StateDoor } from '../dist/libs/provisioning/drivers/terraform/src/index.js';
import { registerProvisioningHandlers } from '../dist/libs/provisioning/engine/src/index.js';
import { openEngine, TASK_LEASE_MS } from './engine.mjs';

const given = JSON.parse(process.env.CRASH_WORKER);
let url = '';
const { db, clock, sealer, logger, engine } = await openEngine(given, { ownUrl: () => url, policy: given.policy });

const door = new StateDoor(new PgStateWire(db, sealer));
const server = createServer((request, reply) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { pathname, searchParams } = new URL(request.url, url);
    const { authorization, 'content-md5': contentMd5 } = request.headers;
    const clusterRef = decodeURIComponent(pathname.split('/').at(-1));
    door
      .handle({
        method: request.method,
        clusterRef,
        lockId: searchParams.get('ID'),
        authorization,
        contentMd5,
        body: Buffer.concat(chunks),
      })
      .then(({ status, body }) => reply.writeHead(status, { 'content-type': 'application/json' }).end(body))
      .catch(() => reply.writeHead(500).end());
  });
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
url = `http://127.0.0.1:${server.address().port}`;

const runner = new TaskRunner(db, clock, new SilentNudger(), logger, {
  pollMs: 100,
  leaseMs: TASK_LEASE_MS,
  concurrency: given.concurrency ?? 4,
});
registerProvisioningHandlers(runner, engine);
runner.addClock(() => engine.supervise());
await runner.start();
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
