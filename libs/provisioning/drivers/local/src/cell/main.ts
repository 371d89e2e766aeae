/**
 * A cell process: `node main.js <cell folder> --berth-cell=<cell id> --release=<version>`. The second argument is its label for
 * `inventory`; the third is what it runs as until it ends, whatever its record says meanwhile.
 */
import { readJson, cellPaths } from '../files.js';
import type { CellFile } from '../wire.js';
import { releaseOf } from '../version.js';
import { Cell } from './cell.js';

const folder = process.argv[2];
const file = folder ? readJson<CellFile>(cellPaths(folder).cell) : undefined;
if (!folder || !file) {
  console.error('usage: main.js <cell folder with cell.json>');
  process.exit(2);
}

const cell = new Cell(folder, file, releaseOf(/^--release=(.+)$/.exec(process.argv[4] ?? '')?.[1]), () => process.exit(0));
process.on('SIGTERM', () => cell.stop());
process.on('SIGINT', () => cell.stop());
// The terminal of whoever started us is not ours: a cell outlives it.
process.on('SIGHUP', () => undefined);
// Azurite leaves a rejection behind when a client breaks off an upload; the other tenants go on.
process.on('unhandledRejection', (error) => console.error('unhandled rejection', error));
process.on('uncaughtException', (error) => {
  console.error('uncaught', error);
  setTimeout(() => process.exit(1), 3000).unref();
  cell.stop();
});

cell.start().catch((error: unknown) => {
  console.error('the cell did not start', error);
  process.exit((error as { code?: string }).code === 'EADDRINUSE' ? 3 : 1);
});
