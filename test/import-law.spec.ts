import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLEAN, CYCLE, PLANTED, type Tree } from './support/import-law.fixture.js';

const root = fileURLToPath(new URL('..', import.meta.url));

interface Report {
  summary: { violations: { rule: { name: string }; from: string; to: string }[]; totalCruised: number };
  modules: { source: string; dependencies: { module: string; resolved: string }[] }[];
}

async function cruise(folder: string, tree: Tree): Promise<Report> {
  mkdirSync(folder, { recursive: true });
  for (const file of ['package.json', 'tsconfig.json', '.dependency-cruiser.cjs']) cpSync(join(root, file), join(folder, file));
  for (const [file, text] of Object.entries(tree)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), `${text}\n`);
  }
  const program = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const args = [program, '--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'apps', 'libs', 'migrations', 'openapi'];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, maxBuffer: 64_000_000 }).catch(
    (error: { stdout?: string }) => {
      // It ends non-zero when it found violations: that is what we want to read.
      if (!error.stdout?.startsWith('{')) throw error;
      return { stdout: error.stdout };
    },
  );
  return JSON.parse(stdout) as Report;
}

describe('the import law', () => {
  const folder = join(root, '.tmp', `import-law-${process.pid}`);
  let clean: Report;
  let broken: Report;

  beforeAll(async () => {
    const planted = Object.fromEntries(PLANTED.map(({ file, text }) => [file, text]));
    [clean, broken] = await Promise.all([
      cruise(join(folder, 'clean'), CLEAN),
      cruise(join(folder, 'broken'), { ...CLEAN, ...planted, ...CYCLE }),
    ]);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('finds nothing in a house that keeps it, having followed every name to its source', () => {
    expect(clean.summary.violations).toEqual([]);
    expect(clean.modules.length).toBeGreaterThanOrEqual(Object.keys(CLEAN).length);
    const metering = clean.modules.find(({ source }) => source === 'libs/metering/src/index.ts');
    expect(metering?.dependencies.map(({ resolved }) => resolved).sort()).toEqual([
      'libs/entitlements/src/index.ts',
      'libs/marketplaces/core/src/index.ts',
      'libs/platform/src/index.ts',
      'libs/tenancy/src/index.ts',
    ]);
  });

  it.each(PLANTED)('refuses $what', ({ rule, file, to }) => {
    const found = broken.summary.violations.filter((violation) => violation.from === file && violation.rule.name === rule);
    expect(found, JSON.stringify(broken.summary.violations.filter((violation) => violation.from === file))).not.toEqual([]);
    expect(found.some((violation) => violation.to === to || violation.to.includes(`node_modules/${to}/`))).toBe(true);
  });

  it('refuses a cycle', () => {
    // It is told once, from either end.
    const found = broken.summary.violations
      .filter(({ rule }) => rule.name === 'no-circular')
      .map(({ from: source, to }) => [source, to].sort());
    expect(found).toEqual([['libs/metering/src/egg.ts', 'libs/metering/src/hen.ts']]);
  });

  it('complains about the planted files only', () => {
    const planted = new Set([...PLANTED.map(({ file }) => file), ...Object.keys(CYCLE)]);
    expect(broken.summary.violations.filter((violation) => !planted.has(violation.from))).toEqual([]);
  });
});
