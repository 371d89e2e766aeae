import { builtinRules } from 'eslint/use-at-your-own-risk';
import tseslint from 'typescript-eslint';

const NO_DEFAULT_EXPORT = { selector: 'ExportDefaultDeclaration', message: 'Name what you export.' };
const NO_WALL_CLOCK = [
  {
    selector: "CallExpression[callee.object.name='Date'][callee.property.name='now']",
    message: 'Business time is injected (Clock); real time is realNow() of #platform.',
  },
  {
    selector: "NewExpression[callee.name='Date'][arguments.length=0]",
    message: 'Business time is injected (Clock); real time is realNow() of #platform.',
  },
];
const NO_ENVIRONMENT = {
  object: 'process',
  property: 'env',
  message: "Settings are read in libs/platform/src/config or an app's config.ts.",
};

const TESTS = ['**/*.{spec,int-spec,contract-spec,e2e-spec}.{ts,tsx}', '**/testing/**', '**/test/**'];
const CONFIGS = ['vitest.config.ts', '**/vite.config.{ts,mts}', 'eslint.config.mjs'];

const house = {
  // The same rule under a second name: 300 lines warn, 500 refuse.
  rules: { 'max-lines': builtinRules.get('max-lines') },
};
const lines = (max) => ({ max, skipBlankLines: false, skipComments: false });

export default tseslint.config(
  {
    ignores: ['**/node_modules/', '**/dist/', '.berth/', '.tmp/', 'coverage/', 'openapi/generated/'],
  },
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
  },
  {
    files: ['**/*.{ts,tsx}'],
    ignores: CONFIGS,
    extends: [tseslint.configs.base],
    languageOptions: {
      parserOptions: {
        // One program for all files: the project service makes it again with each file that it opens.
        project: ['./tsconfig.json', './apps/portal/tsconfig.json'],
        tsconfigRootDir: import.meta.dirname,
        // With these the rule for type imports leaves files with decorators alone: Nest injects by the imported value.
        emitDecoratorMetadata: true,
        experimentalDecorators: true,
      },
    },
    plugins: { house },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none', ignoreRestSiblings: true },
      ],
      'max-lines': ['warn', lines(300)],
      'house/max-lines': ['error', lines(500)],
      'no-restricted-syntax': ['error', NO_DEFAULT_EXPORT],
      'no-restricted-properties': ['error', NO_ENVIRONMENT],
      'no-debugger': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  {
    files: ['libs/**/*.ts'],
    ignores: [...TESTS, 'libs/platform/src/clock*.ts', 'libs/platform/src/clock/**'],
    rules: { 'no-restricted-syntax': ['error', NO_DEFAULT_EXPORT, ...NO_WALL_CLOCK] },
  },
  {
    // Where settings are read; the embedded servers and cells hand PATH and the run's mark on to their children.
    files: [
      'libs/platform/src/config/**',
      'libs/platform/src/embedded/**',
      'libs/provisioning/drivers/local/src/cell-host.ts',
      'apps/*/src/config.ts',
      'apps/*/src/main.ts',
      ...TESTS,
    ],
    rules: { 'no-restricted-properties': 'off' },
  },
  {
    // Wire bodies in tests have no types of their own: a test that imported ours would judge with our eyes.
    files: ['apps/marketplace-sandbox/test/**'],
    rules: { '@typescript-eslint/no-explicit-any': 'off' },
  },
  {
    // Vitest finds its global set-up by the default export.
    files: ['test/support/global-*.ts'],
    rules: { 'no-restricted-syntax': 'off' },
  },
  {
    files: ['**/*.{mjs,cjs,js}', ...CONFIGS],
    languageOptions: { parser: tseslint.parser, sourceType: 'module' },
    plugins: { house, '@typescript-eslint': tseslint.plugin },
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', caughtErrors: 'none' }],
      'max-lines': ['warn', lines(300)],
      'house/max-lines': ['error', lines(500)],
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
);
