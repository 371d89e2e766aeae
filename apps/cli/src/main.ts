#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { Refused } from './api.js';
import { atRisk } from './at-risk.js';
import { close, type CloseArguments } from './close.js';
import { conformance, type ConformanceArguments } from './conformance.js';
import { doctor, type DoctorArguments } from './doctor.js';
import { explain, type ExplainArguments } from './explain.js';
import { billingDiff, journal, ledgerHash, replay } from './replay.js';
import { findings, type FindingsArguments } from './findings.js';
import { payouts, type PayoutsArguments } from './payouts.js';
import { reconcile, type ReconcileArguments } from './reconcile.js';
import { oneLine } from './text.js';
import { importUsageReport, type UsageReportArguments } from './usage-report.js';

const seconds = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 1 || value > 600) throw new InvalidArgumentError('a number of seconds from 1 to 600 is wanted.');
  return value;
};

const instant = (text: string): string => {
  const value = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text;
  if (!/^\d{4}-\d{2}-\d{2}T[\d:.]+Z$/.test(value) || Number.isNaN(Date.parse(value)))
    throw new InvalidArgumentError('a day (2026-03-01, UTC) or an instant (2026-03-01T10:00:00Z) is wanted.');
  return value;
};
const list = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);

/** `--map day=UsageDate`, as often as needed. */
const pair = (text: string, before: Record<string, string> = {}): Record<string, string> => {
  const [name, ...value] = text.split('=');
  if (!name || value.length === 0) throw new InvalidArgumentError('name=value is wanted.');
  return { ...before, [name.trim()]: value.join('=').trim() };
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

program
  .command('reconcile')
  .description('compares the sum law, placements, what the marketplaces accepted, and purchases, as one run; differences become findings')
  .option('--kinds <kinds>', 'of: sum_law,placements,read_back,usage_report,subscriptions (all of them, unless said)', list)
  .option('--marketplace <marketplace>', 'azure, gcp or aws alone')
  .option('--from <instant>', 'a day or an instant (UTC); midnight two days ago, unless said', instant)
  .option('--to <instant>', 'before this day or instant; last midnight, unless said', instant)
  .option('--wait', 'tells how far it is, and ends with 0 (all agreed), 2 (something differs) or 1 (not all could be compared)', false)
  .option('--json', 'for programs', false)
  .action(async (options: ReconcileArguments) => {
    process.exitCode = await reconcile(options);
  });

program
  .command('conformance')
  .description("judges a placement's Blob endpoint by the calls that AzCopy makes, and keeps what was seen")
  .argument('<what>', 'a placement (pla_…), or a run to look at (cfr_…)')
  .option('--wait', 'tells how far it is, and ends with 0 (passed), 2 (it does not pass) or 1 (it could not be carried out)', false)
  .option('--evidence', 'each request of each rule, and what came back', false)
  .option('--json', 'for programs', false)
  .action(async (what: string, options: ConformanceArguments) => {
    process.exitCode = await conformance(what, options);
  });

program
  .command('findings')
  .description('named differences, with what they are worth, until when, and how each may be settled')
  .option('--open', 'only those that nobody has settled', false)
  .option('--kind <kind>', 'for example drift.quantity')
  .option('--json', 'for programs', false)
  .action(async (options: FindingsArguments) => {
    process.exitCode = await findings(options);
  });

program
  .command('at-risk')
  .description('frozen hours that no marketplace has accepted yet, in units and money, by the time that is left')
  .option('--json', 'for programs', false)
  .action(async (options: { json: boolean }) => {
    process.exitCode = await atRisk(options);
  });

program
  .command('payouts')
  .description('what the marketplaces paid out, as it was imported, and what of it is for nothing known')
  .option('--marketplace <marketplace>', 'azure, gcp or aws alone')
  .option('--json', 'for programs', false)
  .action(async (options: PayoutsArguments) => {
    process.exitCode = await payouts(options);
  });

program
  .command('usage-report')
  .description('usage as a marketplace tells it in a file that you downloaded')
  .command('import')
  .description('stores such a file and compares it with what was accepted; with --preview it is only read')
  .argument('<file>', 'a CSV file (UTF-8); its first line names the columns')
  .requiredOption('--marketplace <marketplace>', 'azure, gcp or aws')
  .option(
    '--preview',
    'shows how it would be understood, and what is wrong with it by line; ends with 1 where it could not be imported',
    false,
  )
  .option('--map <field=column>', 'day, month, purchase, agreement, account, dimension, quantity, key, version, deleted; repeat it', pair)
  .option('--constant <field=value>', 'what the file does not say and is one for all lines; repeat it', pair)
  .option('--dimension <theirs=ours>', "the report's name of a dimension to ours; repeat it", pair)
  .option('--as-of <instant>', 'when the report was made; now, unless said', instant)
  .option('--from <day>', 'the first day it covers; the first it tells of, unless said')
  .option('--to <day>', 'the day after the last that it covers')
  .option('--rounded-to <decimals>', 'decimals to which the report rounds each row', Number)
  .option('--decimal <mark>', 'point or comma, where the file leaves it unclear')
  .option('--dates <order>', 'month_first or day_first, where the file leaves it unclear')
  .option('--json', 'for programs', false)
  .action(async (file: string, options: UsageReportArguments) => {
    process.exitCode = await importUsageReport(file, options);
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
