// What is there, by the operating system and the files: no line of this asks a table of the engine.
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** Where the cells of each driver lie. */
export const cellsFolder = (dataDir, driver) => join(dataDir, driver === 'terraform' ? 'terraform/cells' : 'cells');

const read = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};
const names = (folder) => (existsSync(folder) ? readdirSync(folder).sort() : []);

/** Living processes whose command line, folder or mark lies in the installation. */
export function processesIn(dataDir) {
  return names('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const pid = Number(name);
      const command = read(`/proc/${name}/cmdline`).replaceAll('\0', ' ');
      let cwd = '';
      try {
        cwd = readlinkSync(`/proc/${name}/cwd`);
      } catch {
        // it has ended, or is a zombie
      }
      return command !== '' && (command.includes(dataDir) || cwd.startsWith(dataDir)) ? [{ pid, command, cwd }] : [];
    });
}

/** `--berth-cell=<name>` of the living cells, one for each process. */
export const cellsIn = (processes) => processes.flatMap(({ command }) => / --berth-cell=(\S+)/.exec(command)?.[1] ?? []).sort();

/** Programs that build: terraform and what it starts. Between two changes there is none. */
export const buildersIn = (processes) => processes.filter(({ command }) => TERRAFORM.test(command) || command.includes('cells-program.js'));
const TERRAFORM = /^(\S*\/)?(terraform|tofu)( |$)/;

/** Clusters that two builders write at once, each a process group of its own: what two control planes that act together would make. */
export function actedTwice(processes) {
  const folders = new Set(
    processes.filter(({ command }) => TERRAFORM.test(command) && / apply\b/.test(command)).map(({ cwd }) => cwd.split('/').at(-1)),
  );
  const clusters = [...folders].map((folder) => folder.split('.')[0]);
  return clusters.filter((one, i) => clusters.indexOf(one) !== i);
}

/** Differences between what shall be and what is; empty is well. `expected`: driver → cluster name → account names. */
export function differences(dataDir, expected) {
  const processes = processesIn(dataDir);
  const found = [];
  const differs = (what, is, shall) => {
    if (JSON.stringify(is) !== JSON.stringify(shall)) found.push(`${what}: there is [${is}], not [${shall}]`);
  };
  const clusters = Object.values(expected)
    .flatMap((of) => Object.keys(of))
    .sort();
  differs('processes of cells', cellsIn(processes), clusters);
  differs(
    'builders',
    buildersIn(processes).map(({ command }) => command.slice(0, 80)),
    [],
  );
  for (const [driver, of] of Object.entries(expected)) {
    const cells = join(cellsFolder(dataDir, driver), 'cells');
    differs(`folders of ${driver}`, names(cells), Object.keys(of).sort());
    for (const [name, accounts] of Object.entries(of)) {
      const desired = JSON.parse(read(join(cells, name, 'desired.json')) || '{"accounts":{}}');
      differs(`accounts of ${name}`, Object.values(desired.accounts).sort(), [...accounts].sort());
    }
  }
  differs('folders of terraform runs', names(join(dataDir, 'terraform/work')), []);
  return found;
}
