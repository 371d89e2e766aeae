import { ConfigError, errorText, ProblemError } from '#platform';
import { environment } from '../config.js';
import { withoutSecrets } from '../doctor/without-secrets.js';
import { perform, type Wish } from './commands.js';

const TELL_EVERY_MS = 2_000;

/**
 * `node program.js <wish as JSON>`: prints the answer as one line of JSON; progress goes to standard error. A refusal is one
 * line there, with its stable code, and exit code 1; a wrong question or setting 2. `berth journal`, `ledger-hash`, `replay` and
 * `billing-diff` are its faces: only this app may join database, catalog and the marketplaces' traits.
 */
let last = performance.now();
try {
  const wish = JSON.parse(process.argv[2] ?? '{}') as Wish;
  const answer = await perform(wish, environment(), (text) => {
    if (performance.now() - last < TELL_EVERY_MS) return;
    last = performance.now();
    process.stderr.write(`… ${text}\n`);
  });
  process.stdout.write(`${JSON.stringify(answer)}\n`);
} catch (error) {
  const text = error instanceof ProblemError ? `${error.detail} (${error.code})` : (errorText(error).split('\n')[0] ?? '');
  process.stderr.write(`berth: ${withoutSecrets(text, environment(), null)}\n`);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
}
