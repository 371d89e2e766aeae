// Short forms for `npm test`, on the database that is given: one life of a cluster under kills, or tenants on a few shared cells. Prints JSON.
import { House } from './house.mjs';
import { playLife } from './life.mjs';
import { struckOnce } from './strikes.mjs';
import { playTenants } from './tenants.mjs';

const { tenants, perCell, driver, seed, life, ...given } = JSON.parse(process.env.CRASH_SHORT);
const tell = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
if (tenants) {
  const said = [];
  const code = await playTenants({ tenants, perCell, ...given, tell: (line) => said.push(line) });
  tell({ code, said });
} else {
  const policy = { cellCapacity: 1, shapeDrivers: { cell: 'local', 'cell-large': 'terraform' } };
  const house = await House.open({ policy, ...given, log: 'silent' });
  const chosen = struckOnce(seed, life);
  try {
    tell({ chosen, rows: await playLife(house, { driver, strikes: new Set(chosen), seed }), dataDir: house.dataDir });
  } finally {
    await house.close();
  }
}
