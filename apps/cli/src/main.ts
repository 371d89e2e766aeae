#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { Refused } from './api.js';
import { close, type CloseArguments } from './close.js';
import { doctor, type DoctorArguments } from './doctor.js';
import { explain, type ExplainArguments } from './explain.js';
import { billingDiff, journal, ledgerHash, replay } from './replay.js';
import { oneLine } from './text.js';

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

program
  .command('explain')
  .description('shows where an amount comes from, down to its samples, or where a sample went, up to its receipt')
  .argument('<what>', "a record (rec_…), a submission (itm_…), a marketplace's receipt, or the id of a raw event")
  .option('--source <source>', 'of a raw event')
  .option('--day <date>', 'of a raw event that an import posted, for example 2026-03-10 (UTC)')
  .option('--json', 'for programs', false)
  .option('--html', 'a page to read and print', false)
  .action(async (what: string, options: ExplainArguments) => {
    process.exitCode = await explain(what, options);
  });

program
  .command('close')
  .description('a month from sample to payout, each marketplace at its true grain, with every variance named')
  .argument('<month>', 'for example 2026-03')
  .option('--marketplace <marketplace>', 'azure, gcp or aws alone')
  .option('--final', 'refuse while anything may still change it', false)
  .option('--json', 'for programs', false)
  .option('--csv', 'one line a figure', false)
  .action(async (month: string, options: CloseArguments) => {
    process.exitCode = await close(month, options);
  });

program
  .command('journal')
  .description('writes down what came into the metering from outside, in its order, for a replay; no names, addresses or keys')
  .requiredOption('--out <file>', 'for example march.ndjson.gz; packed where the name ends in .gz')
  .option('--json', 'for programs', false)
  .action(async (options: { out: string; json: boolean }) => {
    process.exitCode = await journal(options);
  });

program
  .command('ledger-hash')
  .description("the hash of the installation's usage records and ledger entries, as a replay makes it")
  .option('--json', 'for programs', false)
  .action(async (options: { json: boolean }) => {
    process.exitCode = await ledgerHash(options);
  });

program
  .command('replay')
  .description(
    'feeds a journal to an empty database, closes the same hours with this build and prints the hash of the ledger; sends nothing',
  )
  .requiredOption('--from <journal>', 'a file that berth journal wrote')
  .option('--into <url>', 'an empty Postgres database; without it a private one, thrown away afterwards')
  .option('--json', 'for programs', false)
  .action(async (options: { from: string; into?: string; json: boolean }) => {
    process.exitCode = await replay(options);
  });

program
  .command('billing-diff')
  .description('replays a journal with this build, or with another catalog, and shows which of its records would change')
  .requiredOption('--from <journal>', 'a file that berth journal wrote')
  .option('--catalog <folder>', 'the catalog to try')
  .option('--into <url>', 'an empty Postgres database; without it a private one, thrown away afterwards')
  .option('--json', 'for programs: every changed record', false)
  .addHelpText('after', '\nEnds with 0 where no record would change, with 2 where some would, with 1 where it is refused.')
  .action(async (options: { from: string; catalog?: string; into?: string; json: boolean }) => {
    process.exitCode = await billingDiff(options);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof Refused) {
    process.stderr.write(`berth: ${oneLine(error.message)}\n`);
    process.exitCode = error.exitCode;
  } else if (error instanceof CommanderError) {
    // Help is an answer; anything else was a wrong question. Of billing-diff 2 says that records would change.
    process.exitCode = error.exitCode === 0 ? 0 : process.argv[2] === 'billing-diff' ? 1 : 2;
  } else throw error;
}
