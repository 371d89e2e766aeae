/** Azurite as a process of its own, in memory: an endpoint to try the Blob suite on. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface AzuriteChild {
  readonly port: number;
  readonly accountName: string;
  readonly secretBase64: string;
  stop(): Promise<void>;
}

export async function startAzurite(): Promise<AzuriteChild> {
  const accountName = 'probeaccount';
  const secretBase64 = randomBytes(64).toString('base64');
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'berth-azurite-'));
  const main = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js');
  const child = spawn(
    process.execPath,
    [main, '--silent', '--inMemoryPersistence', '--disableTelemetry', '--blobHost', '127.0.0.1', '--blobPort', String(port)],
    { cwd: folder, stdio: 'ignore', env: { ...process.env, AZURITE_ACCOUNTS: `${accountName}:${secretBase64}` } },
  );
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const until = performance.now() + 20_000;
  for (;;) {
    const up = await fetch(`http://127.0.0.1:${port}/${accountName}?comp=list`, { signal: AbortSignal.timeout(1_000) }).catch(() => null);
    await up?.arrayBuffer();
    if (up) break;
    if (performance.now() > until || child.exitCode !== null) throw new Error('Azurite does not start');
    await new Promise((done) => setTimeout(done, 50));
  }
  return {
    port,
    accountName,
    secretBase64,
    stop: async () => {
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
