import { defaultServerConditions } from 'vite';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/longest-first.js';

// Tests run from source: a lib's name leads to its TypeScript (package.json#imports, condition `source`). Without `module`:
// packages that ship bundler-only files under it (OpenTelemetry) do not load in Node.
const conditions = ['source', ...defaultServerConditions.filter((condition) => condition !== 'module')];
const rooms = (suffix: string): string[] => ['apps', 'libs', 'migrations', 'openapi', 'test'].map((room) => `${room}/**/*.${suffix}.ts`);

interface Suite {
  readonly name: string;
  readonly suffix: string;
  readonly timeout: number;
  readonly database?: boolean;
}

const suites: readonly Suite[] = [
  { name: 'unit', suffix: 'spec', timeout: 10_000 },
  { name: 'int', suffix: 'int-spec', timeout: 60_000, database: true },
  { name: 'contract', suffix: 'contract-spec', timeout: 60_000, database: true },
  { name: 'e2e', suffix: 'e2e-spec', timeout: 180_000, database: true },
];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  // The environment that runs the global set-up files.
  environments: { __vitest__: { resolve: { conditions } } },
  test: {
    sequence: { sequencer: LongestFirst },
    projects: suites.map((suite) => ({
      extends: true as const,
      test: {
        name: suite.name,
        include: rooms(suite.suffix),
        exclude: ['**/node_modules/**', '**/dist/**', 'apps/portal/dist/**'],
        environment: 'node',
        pool: 'forks' as const,
        // Files of one worker share their imports: to load everything again for each costs more than many of them.
        isolate: false,
        setupFiles: ['./test/support/set-up.ts'],
        globalSetup: suite.database ? ['./test/support/global-postgres.ts'] : [],
        testTimeout: suite.timeout,
        hookTimeout: Math.max(60_000, suite.timeout),
        unstubEnvs: true,
        restoreMocks: true,
      },
    })),
  },
});
