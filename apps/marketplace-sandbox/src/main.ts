import { readConfig, StartUpError } from './config.js';
import { buildSandbox } from './server.js';

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const sandbox = await buildSandbox(config);
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    sandbox.close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  const url = await sandbox.listen();
  process.stdout.write(`${JSON.stringify({ ready: true, url, pubsub: sandbox.pubsubHost(), seed: sandbox.seed })}\n`);
}

main().catch((error: NodeJS.ErrnoException) => {
  process.stderr.write(`marketplace-sandbox: ${explain(error)}\n`);
  process.exit(1);
});

function explain(error: NodeJS.ErrnoException): string {
  if (error instanceof StartUpError) return error.message;
  if (error.code === 'EADDRINUSE') return 'the port is in use; stop the other process or set SANDBOX_PORT (0 takes a free one)';
  if (error.code === 'EACCES' || error.code === 'ENOTDIR' || error.code === 'EROFS')
    return `${error.message}; set SANDBOX_DATA to a folder this user can write`;
  return error.message.split('\n')[0] ?? 'unknown fault';
}
