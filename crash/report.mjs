// The table, and the page.
import { cpus, totalmem } from 'node:os';
import { CHANGES, MOMENTS, strikesAt } from './strikes.mjs';

export const HEAD = ['driver', 'change', 'step', ...MOMENTS];

const NAMES = { intent: 'intent', asked: 'asked', within: 'within', frozen: 'frozen', outcome: 'outcome' };

/** One line for each driver, change and step of the ledger. */
export function linesOf(rows, drivers) {
  return drivers.flatMap((driver) =>
    Object.entries(CHANGES).flatMap(([change, steps]) =>
      steps.map((step) => [driver, change, step, ...MOMENTS.map((moment) => cellOf(rows, { driver, change, step, moment }))]),
    ),
  );
}

function cellOf(rows, { driver, change, step, moment }) {
  if (!strikesAt(step, moment)) return '·';
  const row = rows.find((r) => r.driver === driver && r.change === change && r.step === step && r.moment === moment);
  if (!row) return '-';
  if (!row.well) return 'FAIL';
  return row.at === NAMES[moment] ? 'ok' : `ok (${row.at})`;
}

/** Step names that no strike hit. */
export const missing = (rows) =>
  [...new Set(Object.values(CHANGES).flat())].filter((step) => !rows.some((row) => row.step === step && row.at !== ''));

const line = (cells) => `| ${cells.join(' | ')} |`;

export function markdown(rows, { drivers, seed, commit, seconds, command, leaseMs }) {
  const well = rows.filter((row) => row.well).length;
  return `${[
    '# Crash matrix',
    '',
    `Written by \`${command}\`; do not edit. ${well} of ${rows.length} kills survived: no orphan, no second cluster, always converged.`,
    '',
    '## What this certifies',
    '',
    `Two control planes (the engine, its drivers, the step ledger and terraform's state backend, from the build) work on one database, with leases of ${leaseMs} ms. One cluster's life is played for each driver and moment: it is made, filled, resized, suspended, resumed, upgraded, emptied and retired. In every step of the ledger the control plane is ended from outside with SIGKILL, or frozen with SIGSTOP until another one has overtaken it. Then the change has to come to its end by itself, and the machine is counted: living cells, programs that build, folders and accounts of cells, folders of runs, what terraform's state names. As the buyer, what was written at first is read, and a suspended account must be shut. The engine's own tables are not asked whether all is well; they only tell where a step stands, so that it can be struck there. All the while a second cell of one cluster, or two terraform runs that write one, are looked for ten times a second.`,
    '',
    '- **intent**: the step is being written, nothing is committed. **asked**: it is committed, and its driver was not called.',
    '- **within**: the driver is at work (in brackets: on which of its steps); every control plane is killed at once, as by a power cut.',
    '- **frozen**: the driver is at work; every control plane stands still, new ones take over, and the old ones wake when the change is made. They may change nothing any more.',
    '- **outcome**: the effect is there, and its outcome is not committed.',
    '- A dot: the step only looks and is over in milliseconds.',
    '',
    line(HEAD),
    line(HEAD.map(() => '---')),
    ...linesOf(rows, drivers).map(line),
    '',
    '## The run',
    '',
    `Seed ${seed}, commit ${commit}, ${Math.round(seconds / 60)} min on ${cpus().length} processors (${cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB of memory, Node ${process.versions.node}. The seed decides how far into a driver's work a kill comes.`,
  ].join('\n')}\n`;
}
