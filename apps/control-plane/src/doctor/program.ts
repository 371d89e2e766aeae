import { ConfigError, errorText } from '#platform';
import { environment } from '../config.js';
import { diagnose } from './diagnose.js';
import { withoutSecrets } from './without-secrets.js';

/**
 * `node program.js <azure|gcp|aws|all> <timeout ms>`: prints what `diagnose` says. A wrong question or setting is one line on
 * standard error and exit code 2. `berth doctor` is its face; the checks live here because only this app may join adapters,
 * catalog and settings.
 */
try {
  const [wanted = '', limit = '15000'] = process.argv.slice(2);
  process.stdout.write(`${await diagnose(wanted, Number(limit), environment())}\n`);
  process.exit(0);
} catch (error) {
  process.stderr.write(`berth: ${withoutSecrets(errorText(error).split('\n')[0] ?? '', environment(), null)}\n`);
  process.exit(error instanceof ConfigError ? 2 : 1);
}
