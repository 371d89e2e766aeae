// The rules of the marketplaces' contracts: each has an id in its adapter's README and a test that carries the id in its title.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { inRoot } from './house.mjs';

const READMES = {
  AZ: 'libs/marketplaces/azure/README.md',
  GC: 'libs/marketplaces/gcp/README.md',
  AW: 'libs/marketplaces/aws/README.md',
};
const ROW = /^\|\s*((?:AZ|GC|AW)-\d+)\s*\|/gm;
const TAG = /\[((?:(?:AZ|GC|AW)-\d+(?:,\s*)?)+)\]/g;

/** Ids in the first column of a README's tables. */
export function rulesIn(text) {
  return [...text.matchAll(ROW)].map((match) => match[1]);
}

/** Ids in a test's title: `… [AZ-07]` or `… [AZ-07, AZ-09]`. */
export function tagsIn(title) {
  return [...title.matchAll(TAG)].flatMap((match) => match[1].split(/,\s*/));
}

/**
 * Every id must be in one README only, in its own adapter's, and have a test that passed and none that failed; every tag must
 * be an id.
 * @param {Record<string, string>} readmes text by prefix
 * @param {{title: string, status: string}[]} tests
 * @returns {{rules: number, problems: string[]}}
 */
export function judgeRules(readmes, tests) {
  const problems = [];
  const known = new Map();
  for (const [prefix, text] of Object.entries(readmes)) {
    for (const id of rulesIn(text)) {
      if (!id.startsWith(`${prefix}-`)) problems.push(`${id} stands in ${READMES[prefix]}, which is for ${prefix}-…`);
      if (known.has(id)) problems.push(`${id} stands twice`);
      known.set(id, { passed: 0, failed: 0 });
    }
    if (rulesIn(text).length === 0) problems.push(`${READMES[prefix]} has no rule with an id`);
  }
  for (const { title, status } of tests) {
    for (const id of tagsIn(title)) {
      const rule = known.get(id);
      if (!rule) problems.push(`${id} is in a test's title and in no README: ${title}`);
      else if (status === 'passed') rule.passed += 1;
      else if (status === 'failed') rule.failed += 1;
    }
  }
  for (const [id, { passed, failed }] of known) {
    if (passed === 0) problems.push(`${id} has no test that passed`);
    else if (failed > 0) problems.push(`${id} has a test that failed`);
  }
  return { rules: known.size, problems };
}

/** The same over this checkout and the reports of a whole run of the tests. */
export function checkRules(reports) {
  const readmes = Object.fromEntries(
    Object.entries(READMES).map(([prefix, path]) => [prefix, existsSync(inRoot(path)) ? readFileSync(inRoot(path), 'utf8') : '']),
  );
  const tests = readdirSync(reports)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => JSON.parse(readFileSync(`${reports}/${name}`, 'utf8')).testResults)
    .flatMap((file) => file.assertionResults)
    .map(({ fullName, status }) => ({ title: fullName, status }));
  return judgeRules(readmes, tests);
}
