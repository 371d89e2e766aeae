// npm test [-- <filter>]: prepares the checkout, runs every suite, prints the times and, last of all, the sum.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { bootstrap } from './bootstrap.mjs';
import { checkRules } from './lib/rules.mjs';
import { inRoot, main, redisServer, root, run, seconds, table, terraformProgram } from './lib/house.mjs';

const vitest = inRoot('node_modules/vitest/vitest.mjs');
const reports = inRoot('.tmp', 'reports');
const suffixes = { unit: '.spec.ts', int: '.int-spec.ts', contract: '.contract-spec.ts', e2e: '.e2e-spec.ts' };

/** Files that hold an answer to a number of seconds: they run by themselves, with nothing beside them. */
const alone = (file) => /(many-changes|change-decisions)\./.test(file);
/**
 * What hangs on the dispatcher runs without Redis too: the dispatcher's own contract whole, and lives of
 * purchases with landing, changes, drift and the money. `verify:clean` runs all of it where there is no Redis.
 */
const dispatches = (file) =>
  basename(file).startsWith('dispatcher.') || /(publisher-changes|drift-and-replay|reconciliation)\.e2e/.test(file);

/** Files that run the real terraform (or tofu): they lie with the driver, or name it. */
const needsTerraform = (file) => /terraform/.test(file) && /\.(int|contract|e2e)-spec\.ts$/.test(file);

/** What is run: each file once, two at a time; what depends on the dispatcher, in both of its modes. */
function plan(withRedis) {
  const mode = withRedis ? 'on' : 'off';
  const words = withRedis ? 'with Redis' : 'without Redis';
  const together = (file) => !alone(file);
  const steps = [
    { suite: 'unit', title: 'unit', redis: mode, of: together },
    { suite: 'int', title: 'int', redis: mode, of: together },
    { suite: 'int', title: 'int, alone', redis: mode, of: alone, workers: 1 },
    { suite: 'contract', title: `contract, ${words}`, redis: mode, of: together },
    { suite: 'e2e', title: `e2e, ${words}`, redis: mode, of: together },
    { suite: 'e2e', title: `e2e, ${words}, alone`, redis: mode, of: alone, workers: 1 },
  ];
  if (!withRedis) return steps;
  return [
    ...steps,
    { suite: 'contract', title: 'contract of the dispatcher, without Redis', redis: 'off', of: dispatches },
    { suite: 'e2e', title: 'e2e of whole lives, without Redis', redis: 'off', of: (file) => together(file) && dispatches(file) },
  ];
}

main(async () => {
  await bootstrap();
  const filters = process.argv.slice(2);
  const withRedis = redisServer() !== undefined;
  const results = [];
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  const all = testFiles();
  const withTerraform = terraformProgram() !== undefined;
  const files = withTerraform ? all : all.filter((file) => !needsTerraform(file));
  for (const [index, step] of plan(withRedis).entries()) {
    const chosen = files.filter(
      (file) =>
        file.endsWith(suffixes[step.suite]) && step.of(file) && (filters.length === 0 || filters.some((word) => file.includes(word))),
    );
    if (chosen.length === 0) {
      results.push({ step, time: 0, passed: 0, failed: 0, skipped: 0, note: filters.length ? undefined : 'there is no such test' });
      continue;
    }
    console.log(`\n=== ${step.title} (${chosen.length} files)`);
    const report = inRoot('.tmp', 'reports', `${index}-${step.suite}.json`);
    const started = performance.now();
    const { code } = await run(
      process.execPath,
      [
        vitest,
        'run',
        '--project',
        step.suite,
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${report}`,
        `--maxWorkers=${step.workers ?? 2}`,
        ...chosen,
      ],
      { env: { ...process.env, BERTH_TEST_REDIS: step.redis, NODE_ENV: 'test' } },
    );
    results.push({ step, time: performance.now() - started, ...count(report, code) });
  }
  // Only a whole run can tell whether each rule of the contracts has its test.
  if (filters.length === 0) {
    const { rules, problems } = checkRules(reports);
    for (const problem of problems) console.log(`contract rules: ${problem}`);
    console.log(`\ncontract rules with an id: ${rules}, without a test that passed or otherwise wrong: ${problems.length}`);
    if (problems.length > 0)
      results.push({
        step: { suite: 'contract rules', title: 'ids of the contract rules' },
        time: 0,
        passed: 0,
        failed: problems.length,
        skipped: 0,
      });
  }
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  const passed = sum('passed');
  const failed = sum('failed');
  const skipped = sum('skipped');

  console.log('');
  console.log(
    table([
      ['suite', 'passed', 'failed', 'skipped', 'time'],
      ...results.map(({ step, time, ...n }) => [step.title, n.passed, n.failed, n.skipped, seconds(time)]),
      ['all', passed, failed, skipped, seconds(sum('time'))],
    ]),
  );
  for (const { step, failures = [] } of results) for (const failure of failures) console.log(`failed: ${step.title}: ${failure}`);
  for (const { step, note } of results) if (note) console.log(`${step.title}: ${note}`);
  if (!withRedis) {
    console.log(
      'Left out: no redis-server (or valkey-server) is on the PATH, so the e2e suite and the dispatcher contract ran without Redis only.',
    );
  }
  if (!withTerraform) {
    console.log(
      `Left out: no terraform (or tofu) is on the PATH, so ${all.length - files.length} files did not run, among them the conformance suite of the terraform driver and the rules they prove.`,
    );
  }
  if (passed + failed === 0) console.log(`No test ran${filters.length ? ` for ${filters.join(' ')}` : ''}: that counts as a failure.`);
  console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
  return failed > 0 || passed === 0 ? 1 : 0;
});

function testFiles() {
  const found = [];
  const look = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (entry.name !== 'node_modules' && entry.name !== 'dist') look(path);
      } else if (path.endsWith('spec.ts')) found.push(relative(root, path));
    }
  };
  for (const room of ['apps', 'libs', 'migrations', 'openapi', 'test']) if (existsSync(inRoot(room))) look(inRoot(room));
  return found;
}

/** From vitest's report. A file that does not load and an error outside any test are failures too. */
function count(report, code) {
  let json;
  try {
    json = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return code === 0
      ? { passed: 0, failed: 0, skipped: 0 }
      : { passed: 0, failed: 1, skipped: 0, note: 'the suite ended without a report; counted as one failure' };
  }
  const broken = json.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  );
  const found = {
    passed: json.numPassedTests,
    failed: json.numFailedTests + broken.length,
    skipped: json.numPendingTests + json.numTodoTests,
    // Last of all, so that the end of a long output names them.
    failures: json.testResults.flatMap((file) => [
      ...file.assertionResults
        .filter((test) => test.status === 'failed')
        .map((test) => `${relative(root, file.name)}: ${test.fullName}\n${indented(test.failureMessages.join('\n'))}`),
      ...(broken.includes(file) ? [`${relative(root, file.name)}\n${indented(file.message)}`] : []),
    ]),
  };
  if (broken.length) found.note = `${broken.length} file(s) did not load or failed outside a test; each counted as one failure`;
  if (code !== 0 && found.failed === 0) return { ...found, failed: 1, note: 'an error outside any test; counted as one failure' };
  return found;
}

/** The first lines of a failure, without colours. */
function indented(text) {
  const plain = stripVTControlCharacters(text).split('\n').slice(0, 12);
  return plain.map((line) => `    ${line.slice(0, 600)}`).join('\n');
}
