#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { doctor, type DoctorArguments } from './doctor.js';

const seconds = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 1 || value > 600) throw new InvalidArgumentError('a number of seconds from 1 to 600 is wanted.');
  return value;
};

const program = new Command('berth')
  .description("An operator's command line for Berth.")
  .showHelpAfterError('(berth --help tells what there is)')
  .exitOverride();

program
  .command('doctor')
  .description('looks at clocks, credentials, keys, rights, plan ids, units and addresses, and says how to mend what is wrong')
  .argument('<marketplace>', 'azure, gcp, aws or all')
  .option('--json', 'for programs', false)
  .option('--strict', 'warnings and unknowns end with 1, too', false)
  .option('--timeout <seconds>', 'for each check', seconds, 15)
  .action(async (marketplace: string, options: DoctorArguments) => {
    process.exitCode = await doctor(marketplace, options);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Help is an answer; anything else was a wrong question.
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
