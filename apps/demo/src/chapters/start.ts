import { AwsBuyer } from '../buyers/aws.js';
import { AzureBuyer } from '../buyers/azure.js';
import { GcpBuyer } from '../buyers/gcp.js';
import { Sandbox } from '../sandbox.js';
import { until } from '../support/wait.js';
import type { World } from '../world.js';

const DAY_MS = 86_400_000;
/** The story lasts seven hours of business time: it begins in the morning, and at no month's end. */
const BEGINS_AT = '08:02';

export async function start(w: World): Promise<void> {
  const { report } = w;
  report.chapter('The marketplaces and the control plane start');
  const sandboxProgram = await w.startSandbox();
  w.sandbox = new Sandbox(sandboxProgram.banner.url);
  report.fact(`sandbox (plays the marketplaces, owns the development clock): ${w.sandbox.http.base}`);
  await chooseDay(w);
  w.buyers.push(new AzureBuyer(w.sandbox), new GcpBuyer(w.sandbox), new AwsBuyer(w.sandbox));
  const program = await w.startControlPlane();
  const { url, database, queue, startMs } = program.banner;
  report.fact(`control plane: ${url} (database ${String(database)}, queue ${String(queue)}), ready ${String(startMs)} ms after its start`);
  for (const buyer of w.buyers) await buyer.connect(w.controlPlane.url);
  const ready = await w.controlPlane.ready();
  report.equal('it says that it is ready', ready.status, 'ready');
  const apart = Math.abs(Date.parse(ready.businessTime) - (await w.sandbox.now()).getTime());
  report.expect('it keeps the business time of the sandbox', apart < 2_000, `${apart} ms apart at ${ready.businessTime}`);
}

/** Before anybody keeps time: a day whose next one lies in the same month, so that every run plays alike. */
async function chooseDay(w: World): Promise<void> {
  const now = await w.sandbox.now();
  let day = Math.ceil((now.getTime() + 1) / DAY_MS) * DAY_MS;
  while (new Date(day).getUTCMonth() !== new Date(day + DAY_MS).getUTCMonth()) day += DAY_MS;
  w.day = new Date(day).toISOString().slice(0, 10);
  const seconds = (w.at(BEGINS_AT).getTime() - now.getTime()) / 1000;
  await w.sandbox.advance(seconds, seconds);
  w.report.fact(`business time is ${w.at(BEGINS_AT).toISOString()} (seed ${w.config.seed})`);
}

/** After a kill: the same port, the same data. */
export async function restart(w: World): Promise<void> {
  const before = w.controlPlane.url;
  const program = await w.startControlPlane();
  await until('the control plane is ready again', async () => (await w.controlPlane.ready()).status === 'ready', { tolerate: true });
  w.report.equal('the control plane is back at the same address', w.controlPlane.url, before);
  w.report.fact(`ready ${String(program.banner['startMs'])} ms after its start`);
}
