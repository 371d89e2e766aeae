// The import table of docs/architecture.md. test/import-law.spec.ts plants violations and sees each refused.
const TESTS = '(\\.(spec|int-spec|contract-spec|e2e-spec)\\.tsx?$|/testing/|(^|/)test/)';

/** Room -> the rooms it may import (through their doors only). A room is a folder below libs/. */
const MAY_IMPORT = {
  platform: [],
  'marketplaces/core': ['platform'],
  'provisioning/core': ['platform'],
  tenancy: ['platform'],
  entitlements: ['platform', 'marketplaces/core', 'tenancy'],
  'provisioning/engine': ['platform', 'provisioning/core', 'tenancy', 'entitlements'],
  metering: ['platform', 'marketplaces/core', 'tenancy', 'entitlements'],
  'marketplaces/(?!core/)[^/]+': ['platform', 'marketplaces/core'],
  'provisioning/drivers/[^/]+': ['platform', 'provisioning/core'],
};

/** The generated types of the foreign REST APIs, for the adapters that call them. */
const FOREIGN_TYPES = '^openapi/generated/(?!control-plane\\.ts$)';

const roomRules = Object.entries(MAY_IMPORT).map(([room, allowed]) => ({
  name: `room-${room.replace('(?!core/)', '').replace('[^/]+', 'any').replaceAll('/', '-')}`,
  comment: `libs/${room} may import ${allowed.length ? allowed.join(', ') : 'nothing of ours'}; never a sibling`,
  severity: 'error',
  // The group is the room itself: $1 is what a module may import freely.
  from: { path: `^(libs/${room})/` },
  to: {
    path: '^(libs|apps|openapi|migrations|bench|scripts)/',
    pathNot: ['^$1/', ...allowed.map((name) => `^libs/${name}/`), ...(room.includes('(?!core/)') ? [FOREIGN_TYPES] : [])],
  },
}));

const ROOM = '^(libs/(?:(?:marketplaces|provisioning/drivers)/[^/]+|provisioning/(?:core|engine)|[^/]+))/';
const packageOf = (names) => `(^|/)node_modules/(${names})/`;

/** Package -> the only places that may import it. */
const packageRoom = (name, packages, places) => ({
  name: `package-room-${name}`,
  comment: `${packages} belongs to ${places.join(', ')}`,
  severity: 'error',
  from: { path: '^(apps|libs|openapi|migrations|test)/', pathNot: places },
  to: { path: packageOf(packages) },
});

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'modules that need each other are one module',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'resolvable',
      comment: 'an import that leads nowhere would slip through every other rule',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    ...roomRules,
    {
      name: 'known-room',
      comment: 'a folder of libs that the table does not name may import nothing: add it to the table',
      severity: 'error',
      from: { path: '^libs/', pathNot: Object.keys(MAY_IMPORT).map((room) => `^libs/${room}/`) },
      to: { path: '^(libs|apps|openapi|migrations)/' },
    },
    {
      name: 'lib-by-its-door',
      comment: 'another room is entered through src/index.ts or src/testing/index.ts only',
      severity: 'error',
      from: { path: ROOM },
      to: { path: '^libs/', pathNot: ['^$1/', '/src/(testing/)?index\\.ts$'] },
    },
    {
      name: 'lib-by-its-door-from-outside',
      comment: 'apps and tests enter a lib through its doors only',
      severity: 'error',
      from: { path: '^(apps|openapi|migrations|test)/' },
      to: { path: '^libs/', pathNot: '/src/(testing/)?index\\.ts$' },
    },
    {
      name: 'lib-by-its-name',
      comment: 'another room is named as in package.json#imports, never by a relative path',
      severity: 'error',
      from: { path: ROOM },
      to: { path: '^libs/', pathNot: '^$1/', dependencyTypesNot: ['aliased-subpath-import'] },
    },
    {
      name: 'lib-by-its-name-from-outside',
      comment: 'apps and tests name a lib as in package.json#imports',
      severity: 'error',
      from: { path: '^(apps|openapi|migrations|test)/' },
      to: { path: '^libs/', dependencyTypesNot: ['aliased-subpath-import'] },
    },
    {
      name: 'testing-door-from-tests',
      comment: 'what is made for tests stays out of what runs',
      severity: 'error',
      from: { path: '^(apps|libs|openapi|migrations)/', pathNot: TESTS },
      to: { path: ['^libs/.+/src/testing/', '(^|/)test/', '\\.(spec|int-spec|contract-spec|e2e-spec)\\.tsx?$'] },
    },
    {
      name: 'domain-is-pure',
      comment: 'domain/ knows neither use cases nor storage nor the framework',
      severity: 'error',
      from: { path: '^libs/.+/domain/', pathNot: TESTS },
      to: { path: ['^libs/.+/(application|infra)/', packageOf('@nestjs/[^/]+|typeorm|pg|bull')] },
    },
    {
      name: 'no-app-to-app',
      comment: 'apps meet over HTTP only',
      severity: 'error',
      from: { path: '^(apps/[^/]+)/' },
      to: { path: '^apps/', pathNot: '^$1/' },
    },
    {
      name: 'nobody-imports-an-app',
      comment: 'an app is a composition root: tests reach it over HTTP or lie inside it',
      severity: 'error',
      from: { path: '^(libs|openapi|migrations|test)/' },
      to: { path: '^apps/' },
    },
    {
      name: 'sandbox-stands-alone',
      comment: 'the sandbox is an independent judge and imports nothing of ours',
      severity: 'error',
      from: { path: '^apps/marketplace-sandbox/' },
      to: { path: '^(libs|openapi|migrations|test|bench|scripts)/' },
    },
    {
      name: 'clients-only',
      comment: 'portal, cli and demo know the product by its REST client alone',
      severity: 'error',
      from: { path: '^apps/(portal|cli|demo)/', pathNot: TESTS },
      to: { path: '^(libs|migrations|test|bench|scripts)/' },
    },
    {
      name: 'demo-imports-no-lib',
      comment: 'the demo uses HTTP, the real SDKs and signals, also in its tests',
      severity: 'error',
      from: { path: '^apps/(demo|portal|cli)/' },
      to: { path: '^(libs|migrations)/' },
    },
    {
      name: 'migrations-stand-alone',
      comment: 'a reviewed migration must not change when a lib does',
      severity: 'error',
      from: { path: '^(migrations|openapi)/', pathNot: TESTS },
      to: { path: '^(apps|libs|test|bench|scripts)/' },
    },
    packageRoom('msal', '@azure/msal-node', ['^libs/marketplaces/azure/', '^apps/control-plane/src/http/landing/']),
    packageRoom('pubsub', '@google-cloud/[^/]+', ['^libs/marketplaces/gcp/', '^apps/marketplace-sandbox/test/']),
    // The judge's own tests may ask it with the vendors' real clients; its code may not use them.
    packageRoom('aws-sdk', '@aws-sdk/[^/]+|@smithy/[^/]+', ['^libs/marketplaces/aws/', '^apps/marketplace-sandbox/test/']),
    packageRoom('bull', 'bull|@nestjs/bull', ['^libs/platform/src/queue/']),
    packageRoom('sql', 'typeorm|pg', ['^libs/.+/infra/', '^libs/platform/', '^migrations/', TESTS]),
    {
      name: 'sandbox-has-no-database',
      comment: 'the judge keeps its own books in its own files',
      severity: 'error',
      from: { path: '^apps/(marketplace-sandbox|demo|cli|portal)/' },
      to: { path: packageOf('typeorm|pg|@nestjs/typeorm|bull|ioredis') },
    },
    {
      name: 'declared-packages',
      comment: 'a package that package.json does not name is there by chance',
      severity: 'error',
      from: { path: '^(apps|libs|openapi|migrations|test)/' },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'no-dev-package-at-run-time',
      comment: 'a production install has no development packages (the portal is bundled)',
      severity: 'error',
      from: { path: '^(apps|libs|openapi|migrations)/', pathNot: [TESTS, '^apps/portal/'] },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'], pathNot: '/node_modules/@types/|^node_modules/@types/' },
    },
  ],
  options: {
    doNotFollow: { path: '(^|/)node_modules/' },
    exclude: { path: '(^|/)(dist|coverage)/' },
    // `import type` binds rooms together too.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    combinedDependencies: false,
    enhancedResolveOptions: {
      // `#name` leads to the source, as in the tests and for the compiler.
      conditionNames: ['source', 'types', 'import', 'require', 'node', 'default'],
      exportsFields: ['exports'],
      mainFields: ['module', 'main', 'types', 'typings'],
      extensions: ['.ts', '.tsx', '.js', '.mjs', '.cjs', '.json', '.d.ts'],
    },
    skipAnalysisNotInRules: true,
  },
};
