// npm run demo: prepares the checkout and runs the demo to its end; nothing of it stays running.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { bootstrap } from './bootstrap.mjs';
import { HouseError, inRoot, main, onInterrupt, root } from './lib/house.mjs';
import { endAll, processesOfRun, waitForEnd } from './lib/processes.mjs';

main(async () => {
  await bootstrap();
  const program = inRoot('dist/apps/demo/src/main.js');
  if (!existsSync(program)) throw new HouseError('there is no demo in this checkout (apps/demo/src/main.ts is missing)');

  const mark = [process.env.BERTH_RUN_ID, `demo-${randomBytes(8).toString('hex')}`].filter(Boolean).join('/');
  const child = spawn(process.execPath, [program, ...process.argv.slice(2)], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, BERTH_RUN_ID: mark },
    detached: true,
  });
  let interrupted = false;
  onInterrupt((name) => {
    interrupted = true;
    console.log(`\n${name}: ending the demo and all it started`);
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), 10_000).unref();
  });
  const code = await new Promise((resolve) => {
    child.once('error', () => resolve(127));
    child.once('exit', (exitCode, name) => resolve(exitCode ?? (name ? 1 : 0)));
  });

  // Servers that are tied to their launcher end a moment after it.
  const left = await waitForEnd(processesOfRun(mark), 5_000);
  if (left.length > 0) {
    await endAll(left, 5_000);
    console.error(`ended ${left.length} process(es) that the demo left running:`);
    for (const { pid, command } of left) console.error(`  ${pid} ${command}`);
  }
  if (interrupted) return 130;
  return code === 0 && left.length > 0 ? 1 : code;
});
