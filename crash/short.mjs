// Short forms for `npm test`, on the database that is given: one life of a cell under kills, and tenants on a few shared cells. Prints JSON.
import { House } from './house.mjs';
import { playLife, SHORT } from './life.mjs';
import { playTenants } from './tenants.mjs';

const { tenants, perCell, ...given } = JSON.parse(process.env.CRASH_SHORT);
const tell = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
if (tenants) {
  const said = [];
  const code = await playTenants({ tenants, perCell, ...given, tell: (line) => said.push(line) });
  tell({ code, said });
} else {
  const house = await House.open({ policy: { cellCapacity: 1 }, ...given, log: 'silent' });
  try {
    const rows = await playLife(house, { driver: 'local', strikes: new Set(SHORT), seed: 1 });
    tell({ chosen: SHORT, rows, dataDir: house.dataDir });
  } finally {
    await house.close();
  }
}
