// npm run check: format, lint, types, import law, generated files. Two at a time, the longest first.
import { existsSync } from 'node:fs';
import { bootstrap } from './bootstrap.mjs';
import { inRoot, main, runNode, seconds, table, tsc } from './lib/house.mjs';

const bin = (path) => inRoot('node_modules', path);
const rooms = ['apps', 'libs', 'migrations', 'openapi', 'test', 'scripts', 'bench'].filter((room) => existsSync(inRoot(room)));

const steps = [
  { name: 'lint', args: [bin('eslint/bin/eslint.js'), '--no-error-on-unmatched-pattern', '.'] },
  {
    name: 'format',
    args: [
      bin('prettier/bin/prettier.cjs'),
      '--check',
      '--log-level',
      'warn',
      '--cache',
      '--cache-strategy',
      'content',
      '--cache-location',
      '.tmp/prettier.json',
      '.',
    ],
  },
  {
    name: 'import law',
    args: [
      bin('dependency-cruiser/bin/dependency-cruise.mjs'),
      '--config',
      '.dependency-cruiser.cjs',
      ...rooms.filter((room) => !['scripts', 'bench'].includes(room)),
    ],
  },
  { name: 'types', args: [tsc, '--noEmit', '-p', 'tsconfig.json'] },
  ...(existsSync(inRoot('apps/portal/tsconfig.json'))
    ? [{ name: 'types of the portal', args: [tsc, '--noEmit', '-p', 'apps/portal/tsconfig.json'] }]
    : []),
  { name: 'generated files', args: [inRoot('scripts/generate.mjs'), '--check'] },
];

main(async () => {
  await bootstrap({ build: false });
  const only = process.argv.slice(2);
  const chosen = only.length ? steps.filter((step) => only.some((word) => step.name.includes(word))) : steps;
  if (chosen.length === 0) {
    console.error(`error: no step is called ${only.join(' ')}; there are: ${steps.map((step) => step.name).join(', ')}`);
    return 1;
  }
  const started = performance.now();
  const waiting = [...chosen];
  const results = [];
  const worker = async () => {
    for (let step; (step = waiting.shift());) {
      const from = performance.now();
      const { code, text } = await runNode(step.args, { output: 'capture' });
      const time = performance.now() - from;
      results.push({ step, code, time });
      console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${step.name} (${seconds(time)})`);
      if (code !== 0 || step.name === 'lint') console.log(text.trim().replace(/^/gm, '     '));
    }
  };
  await Promise.all([worker(), worker()]);
  console.log('');
  console.log(
    table([
      ['check', 'result', 'time'],
      ...chosen
        .map((step) => results.find((result) => result.step === step))
        .map(({ step, code, time }) => [step.name, code === 0 ? 'ok' : 'failed', seconds(time)]),
      ['all', results.every((result) => result.code === 0) ? 'ok' : 'failed', seconds(performance.now() - started)],
    ]),
  );
  return results.every((result) => result.code === 0) ? 0 : 1;
});
