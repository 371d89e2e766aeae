/** Path to text. */
export type Tree = Record<string, string>;

const lib = (room: string, ...imports: string[]): Tree => ({
  [`libs/${room}/src/index.ts`]: [
    ...imports.map((name, i) => `import { value as v${i} } from '${name}';`),
    `export const value = [${imports.map((_, i) => `v${i}`).join(', ')}].length;`,
  ].join('\n'),
});

/** A small house that keeps the law: every room, every import that the table allows, the testing doors used from tests. */
export const CLEAN: Tree = {
  ...lib('platform'),
  'libs/platform/src/queue/queue.ts': "import type Bull from 'bull';\nexport type Queue = Bull.Queue;",
  'libs/platform/src/testing/index.ts': "export { value as fake } from '../index.js';",
  'libs/platform/src/platform.spec.ts': "import { fake } from './testing/index.js';\nexport const used = fake;",
  ...lib('marketplaces/core', '#platform'),
  ...lib('provisioning/core', '#platform'),
  ...lib('tenancy', '#platform'),
  ...lib('entitlements', '#platform', '#marketplaces/core', '#tenancy'),
  'libs/entitlements/src/infra/store.ts': "import pg from 'pg';\nexport const Client = pg.Client;",
  'libs/entitlements/src/entitlements.spec.ts':
    "import { fake } from '#platform/testing';\nimport { value } from './index.js';\nexport const used = [fake, value];",
  ...lib('provisioning/engine', '#platform', '#provisioning/core', '#tenancy', '#entitlements'),
  ...lib('metering', '#platform', '#marketplaces/core', '#tenancy', '#entitlements'),
  ...lib('marketplaces/azure', '#platform', '#marketplaces/core'),
  'libs/marketplaces/azure/src/token.ts':
    "import { ConfidentialClientApplication } from '@azure/msal-node';\nexport const Client = ConfidentialClientApplication;",
  ...lib('marketplaces/gcp', '#platform', '#marketplaces/core'),
  ...lib('provisioning/drivers/local', '#platform', '#provisioning/core'),
  'apps/control-plane/src/main.ts':
    "import { value as a } from '#metering';\nimport { value as b } from '#marketplaces/azure';\nimport { value as c } from '#provisioning/drivers/local';\nexport const all = [a, b, c];",
  'apps/marketplace-sandbox/src/main.ts': 'export const sandbox = 1;',
  'apps/demo/src/main.ts': 'export const demo = 1;',
  'apps/cli/src/main.ts': "import type { paths } from '../../../openapi/generated/control-plane.js';\nexport type Paths = paths;",
  'libs/marketplaces/azure/src/wire.ts':
    "import type { paths } from '../../../../openapi/generated/azure-saas.js';\nexport type Wire = paths;",
  'openapi/generated/azure-saas.ts': 'export interface paths { readonly none?: never }',
  'openapi/generated/control-plane.ts': 'export interface paths { readonly none?: never }',
  'migrations/history.ts': 'export const history = 1;',
};

const from = (path: string): string => `import { value } from '${path}';\nexport const used = value;`;

export interface Planted {
  readonly what: string;
  readonly rule: string;
  readonly file: string;
  readonly text: string;
  readonly to: string;
}

export const PLANTED: readonly Planted[] = [
  {
    what: 'a lib below importing a lib above it',
    rule: 'room-platform',
    file: 'libs/platform/src/up.ts',
    text: from('#tenancy'),
    to: 'libs/tenancy/src/index.ts',
  },
  {
    what: 'metering importing provisioning',
    rule: 'room-metering',
    file: 'libs/metering/src/side.ts',
    text: from('#provisioning/engine'),
    to: 'libs/provisioning/engine/src/index.ts',
  },
  {
    what: 'a type-only import that the table forbids',
    rule: 'room-tenancy',
    file: 'libs/tenancy/src/typed.ts',
    text: "import type { value } from '#metering';\nexport type V = typeof value;",
    to: 'libs/metering/src/index.ts',
  },
  {
    what: 'an adapter importing its sibling',
    rule: 'room-marketplaces-any',
    file: 'libs/marketplaces/azure/src/sibling.ts',
    text: from('#marketplaces/gcp'),
    to: 'libs/marketplaces/gcp/src/index.ts',
  },
  {
    what: 'an adapter importing a domain lib',
    rule: 'room-marketplaces-any',
    file: 'libs/marketplaces/gcp/src/domain.ts',
    text: from('#entitlements'),
    to: 'libs/entitlements/src/index.ts',
  },
  {
    what: 'an adapter importing the types of our own API',
    rule: 'room-marketplaces-any',
    file: 'libs/marketplaces/azure/src/own.ts',
    text: "import type { paths } from '../../../../openapi/generated/control-plane.js';\nexport type Own = paths;",
    to: 'openapi/generated/control-plane.ts',
  },
  {
    what: 'a domain lib importing the types of a marketplace',
    rule: 'room-metering',
    file: 'libs/metering/src/foreign.ts',
    text: "import type { paths } from '../../../openapi/generated/azure-saas.js';\nexport type Foreign = paths;",
    to: 'openapi/generated/azure-saas.ts',
  },
  {
    what: 'a driver importing its sibling',
    rule: 'room-provisioning-drivers-any',
    file: 'libs/provisioning/drivers/other/src/index.ts',
    text: from('#provisioning/drivers/local'),
    to: 'libs/provisioning/drivers/local/src/index.ts',
  },
  {
    what: 'a driver importing the engine',
    rule: 'room-provisioning-drivers-any',
    file: 'libs/provisioning/drivers/local/src/engine.ts',
    text: from('#provisioning/engine'),
    to: 'libs/provisioning/engine/src/index.ts',
  },
  {
    what: 'a room that the table does not name',
    rule: 'known-room',
    file: 'libs/newcomer/src/index.ts',
    text: from('#platform'),
    to: 'libs/platform/src/index.ts',
  },
  {
    what: 'a deep import into an allowed room',
    rule: 'lib-by-its-door',
    file: 'libs/entitlements/src/deep.ts',
    text: "import type { Queue } from '../../platform/src/queue/queue.js';\nexport type Q = Queue;",
    to: 'libs/platform/src/queue/queue.ts',
  },
  {
    what: 'a deep import from an app',
    rule: 'lib-by-its-door-from-outside',
    file: 'apps/control-plane/src/deep.ts',
    text: "import { Client } from '../../../libs/entitlements/src/infra/store.js';\nexport const used = Client;",
    to: 'libs/entitlements/src/infra/store.ts',
  },
  {
    what: 'an allowed room by a relative path',
    rule: 'lib-by-its-name',
    file: 'libs/tenancy/src/relative.ts',
    text: from('../../platform/src/index.js'),
    to: 'libs/platform/src/index.ts',
  },
  {
    what: 'a testing door used by what runs',
    rule: 'testing-door-from-tests',
    file: 'libs/tenancy/src/fakes.ts',
    text: "import { fake } from '#platform/testing';\nexport const used = fake;",
    to: 'libs/platform/src/testing/index.ts',
  },
  {
    what: 'a domain file importing storage',
    rule: 'domain-is-pure',
    file: 'libs/entitlements/src/domain/noun.ts',
    text: "import { Client } from '../infra/store.js';\nexport const used = Client;",
    to: 'libs/entitlements/src/infra/store.ts',
  },
  {
    what: 'an app importing another app',
    rule: 'no-app-to-app',
    file: 'apps/control-plane/src/app.ts',
    text: "import { demo } from '../../demo/src/main.js';\nexport const used = demo;",
    to: 'apps/demo/src/main.ts',
  },
  {
    what: 'a lib importing an app',
    rule: 'nobody-imports-an-app',
    file: 'libs/metering/src/app.ts',
    text: "import { demo } from '../../../apps/demo/src/main.js';\nexport const used = demo;",
    to: 'apps/demo/src/main.ts',
  },
  {
    what: 'the sandbox importing a lib',
    rule: 'sandbox-stands-alone',
    file: 'apps/marketplace-sandbox/src/lib.ts',
    text: from('#platform'),
    to: 'libs/platform/src/index.ts',
  },
  {
    what: 'the sandbox importing our generated types',
    rule: 'sandbox-stands-alone',
    file: 'apps/marketplace-sandbox/src/types.ts',
    text: "import type { paths } from '../../../openapi/generated/control-plane.js';\nexport type P = paths;",
    to: 'openapi/generated/control-plane.ts',
  },
  {
    what: 'the demo importing a lib',
    rule: 'demo-imports-no-lib',
    file: 'apps/demo/src/lib.ts',
    text: from('#platform'),
    to: 'libs/platform/src/index.ts',
  },
  {
    what: 'the command line importing a lib',
    rule: 'clients-only',
    file: 'apps/cli/src/lib.ts',
    text: from('#tenancy'),
    to: 'libs/tenancy/src/index.ts',
  },
  {
    what: 'a migration importing a lib',
    rule: 'migrations-stand-alone',
    file: 'migrations/lib.ts',
    text: from('#platform'),
    to: 'libs/platform/src/index.ts',
  },
  {
    what: 'msal outside its room',
    rule: 'package-room-msal',
    file: 'libs/marketplaces/gcp/src/msal.ts',
    text: "import { ConfidentialClientApplication } from '@azure/msal-node';\nexport const C = ConfidentialClientApplication;",
    to: '@azure/msal-node',
  },
  {
    what: 'Pub/Sub outside its room',
    rule: 'package-room-pubsub',
    file: 'libs/marketplaces/azure/src/pubsub.ts',
    text: "import { PubSub } from '@google-cloud/pubsub';\nexport const C = PubSub;",
    to: '@google-cloud/pubsub',
  },
  {
    what: 'an AWS SDK outside its room',
    rule: 'package-room-aws-sdk',
    file: 'libs/marketplaces/gcp/src/aws.ts',
    text: "import { MarketplaceMeteringClient } from '@aws-sdk/client-marketplace-metering';\nexport const C = MarketplaceMeteringClient;",
    to: '@aws-sdk/client-marketplace-metering',
  },
  {
    what: 'bull outside the queue',
    rule: 'package-room-bull',
    file: 'libs/metering/src/queue.ts',
    text: "import Bull from 'bull';\nexport const C = Bull;",
    to: 'bull',
  },
  {
    what: 'pg outside infra',
    rule: 'package-room-sql',
    file: 'libs/metering/src/application/sql.ts',
    text: "import pg from 'pg';\nexport const C = pg.Pool;",
    to: 'pg',
  },
  {
    what: 'typeorm in an app',
    rule: 'package-room-sql',
    file: 'apps/control-plane/src/http/orm.ts',
    text: "import { DataSource } from 'typeorm';\nexport const C = DataSource;",
    to: 'typeorm',
  },
  {
    what: 'a development package at run time',
    rule: 'no-dev-package-at-run-time',
    file: 'libs/metering/src/dev.ts',
    text: "import fc from 'fast-check';\nexport const C = fc;",
    to: 'fast-check',
  },
  {
    what: 'an import that leads nowhere',
    rule: 'resolvable',
    file: 'libs/metering/src/nowhere.ts',
    text: from('#nowhere'),
    to: '#nowhere',
  },
];

export const CYCLE: Tree = {
  'libs/metering/src/hen.ts': "import { egg } from './egg.js';\nexport const hen = (): unknown => egg;",
  'libs/metering/src/egg.ts': "import { hen } from './hen.js';\nexport const egg = (): unknown => hen;",
};
