// The short form of the crash matrix, for `npm test`: plays it on the database that is given and prints what was struck, as JSON.
import { House } from './house.mjs';
import { playLife, SHORT } from './life.mjs';

const house = await House.open({ policy: { cellCapacity: 1 }, ...JSON.parse(process.env.CRASH_SHORT), log: 'silent' });
try {
  const rows = await playLife(house, { driver: 'local', strikes: new Set(SHORT), seed: 1 });
  process.stdout.write(`${JSON.stringify({ chosen: SHORT, rows, dataDir: house.dataDir })}\n`);
} finally {
  await house.close();
}
