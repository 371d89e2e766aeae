import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { isLoopbackName } from '../http/guarded-http.js';
import { projectRoot } from '../project-root.js';
import { AWS_ENDPOINTS, type AwsConfig, awsFaults, awsOf, awsVariables } from './aws-config.js';
import { AZURE_ENDPOINTS, type AzureConfig, azureFaults, azureOf, azureVariables } from './azure-config.js';
import { flag } from './flag.js';
import { GCP_ENDPOINTS, type GcpConfig, gcpFaults, gcpOf, gcpVariables } from './gcp-config.js';
import type { Given } from './pairs.js';
import { shapeDriverFaults, shapeDriversOf, type TerraformConfig, terraformOf, terraformVariables } from './terraform-config.js';
import { trustedProxiesOf, trustedProxyFaults } from './trusted-proxies.js';
import { type UsageRates, usageRateFaults, usageRatesOf } from './usage-rates.js';

const url = z.url();

const schema = z.object({
  BERTH_DATA: z.string().default(join(projectRoot(), '.berth')),
  BERTH_ROLE: z.enum(['api', 'worker', 'all']).default('all'),
  BERTH_HOST: z.string().default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65_535).default(4000),
  BERTH_PUBLIC_URL: url.optional(),
  BERTH_SECRET: z.string().min(16, 'must have at least 16 characters').optional(),
  BERTH_TRUSTED_PROXIES: z.string().optional(),
  BERTH_CATALOG: z.string().default(join(projectRoot(), 'catalog')),
  BERTH_LOG: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  DATABASE_URL: url.optional(),
  REDIS_URL: url.optional(),
  BERTH_REDIS: z.enum(['auto', 'off']).default('auto'),
  BERTH_RELAXED_DURABILITY: flag.default(false),
  BERTH_STOP_CELLS: flag.default(false),
  BERTH_ASSERTIONS: flag.default(false),
  BERTH_USAGE_URL: url.optional(),
  /** What the local driver takes on one cell is 200. */
  BERTH_CELL_CAPACITY: z.coerce.number().int().min(1).max(200).default(8),
  BERTH_OVERCOMMIT_PERCENT: z.coerce.number().int().min(100).max(10_000).default(100),
  BERTH_SUCCESSOR_HOLD_MINUTES: z.coerce.number().int().min(0).max(1_440).default(60),
  /** Days after the retention after which data goes whose export nobody has decided on; unset: a person decides. */
  BERTH_EXPORT_GRACE_DAYS: z.coerce.number().int().min(0).max(3_660).optional(),
  /** Whose page gets keys (ADR 0015). Unset: `signed_in` where people can sign in, else `first_visit`. */
  BERTH_LANDING_ACCESS: z.enum(['first_visit', 'signed_in', 'approval']).optional(),
  /** `cell-large=terraform`: which driver builds a shape. */
  BERTH_SHAPE_DRIVERS: z.string().optional(),
  ...terraformVariables,
  /** How often each marketplace's list is compared with ours; 0 never. The adapter's own floor holds besides. */
  BERTH_DRIFT_MINUTES: z.coerce.number().int().min(0).max(10_080).default(60),
  /** How many times the largest hour of the week before an hour may have before it is held for a person; 0: any. */
  BERTH_IMPLAUSIBLE_TIMES: z.coerce.number().int().min(0).max(1_000_000).default(50),
  /** Days that raw samples are kept; a binding's first sample is compared with one up to 35 days older, and late ones come for 35. */
  BERTH_SAMPLE_DAYS: z.coerce.number().int().min(71).max(3_660).default(400),
  /** Days that settled calls, read messages and ended comparisons are kept; a marketplace repeats a message for 31 days at most. */
  BERTH_JOURNAL_DAYS: z.coerce.number().int().min(62).max(3_660).default(400),
  /** Days that ended conformance runs are kept. */
  BERTH_CONFORMANCE_DAYS: z.coerce.number().int().min(7).max(3_660).default(400),
  /** `azure=20, gcp=off`: where the adapters' own rates do not fit. */
  BERTH_USAGE_RATES: z.string().optional(),
  /** Development only: one sandbox plays every marketplace and owns the clock. */
  BERTH_SANDBOX_URL: url.optional(),
  ...azureVariables,
  ...gcpVariables,
  ...awsVariables,
});

export interface BerthConfig {
  dataDir: string;
  role: 'api' | 'worker' | 'all';
  host: string;
  port: number;
  publicUrl: string | null;
  secret: string;
  /** Addresses and networks whose X-Forwarded-For is believed; none: the peer's address counts. */
  trustedProxies: string[];
  catalogDir: string;
  logLevel: string;
  databaseUrl: string | null;
  redisUrl: string | null;
  redisAuto: boolean;
  relaxedDurability: boolean;
  /** A graceful stop ends the cells too. Off in production: tenants are served while the control plane is exchanged. */
  stopCells: boolean;
  /** Our own mistakes that mostly go well are errors: for tests and development. */
  assertions: boolean;
  /** Base address at which cells reach `POST /api/v1/usage-events`; null: the process that sets a cell up is its intake too. */
  usageUrl: string | null;
  /** Placements on one shared cell, at most. */
  cellCapacity: number;
  /** Bytes set aside for placements, in hundredths of what a cluster has. */
  overcommitPercent: number;
  /** Which driver builds a shape that several offer. */
  shapeDrivers: Record<string, string>;
  terraform: TerraformConfig;
  /** How long an ended purchase's access waits for the renewal that may take its place; business time. */
  successorHoldMs: number;
  exportGraceDays: number | null;
  landingAccess: 'first_visit' | 'signed_in' | 'approval';
  /** Business minutes between two comparisons with a marketplace's list; 0 for none. */
  driftMinutes: number;
  /** Calls with usage a second, where not the adapter's own. */
  usageRates: UsageRates;
  implausibleTimes: number;
  sampleDays: number;
  journalDays: number;
  conformanceDays: number;
  sandboxUrl: string | null;
  azure: AzureConfig | null;
  gcp: GcpConfig | null;
  aws: AwsConfig | null;
}

/** A wrong setting: one line with the cause and the remedy, for a person at a terminal. */
export class ConfigError extends Error {}

/** Reads and checks the whole environment at once, before anything starts. All faults are told together. */
export function loadConfig(env: Record<string, string | undefined> = process.env): BerthConfig {
  const given = Object.fromEntries(Object.entries(env).filter(([, v]) => v !== undefined && v !== ''));
  const parsed = schema.safeParse(given);
  const faults = [...(parsed.error?.issues.map((i) => `${i.path.join('.')} ${i.message}`) ?? []), ...faultsAcross(given)];
  if (!parsed.success || faults.length > 0) {
    throw new ConfigError(
      `wrong setting: ${faults.join('; ')}. Correct the environment variable${faults.length > 1 ? 's' : ''} and start again (docs/guides/settings.md lists them all)`,
    );
  }
  const e = parsed.data;
  const sandbox = e.BERTH_SANDBOX_URL?.replace(/\/$/, '') ?? null;
  const dataDir = resolve(e.BERTH_DATA);
  return {
    dataDir,
    role: e.BERTH_ROLE,
    host: e.BERTH_HOST,
    port: e.PORT,
    publicUrl: e.BERTH_PUBLIC_URL?.replace(/\/$/, '') ?? null,
    secret: e.BERTH_SECRET ?? keptSecret(dataDir),
    trustedProxies: trustedProxiesOf(e.BERTH_TRUSTED_PROXIES),
    catalogDir: resolve(e.BERTH_CATALOG),
    logLevel: e.BERTH_LOG,
    databaseUrl: e.DATABASE_URL ?? null,
    redisUrl: e.REDIS_URL ?? null,
    redisAuto: e.BERTH_REDIS === 'auto',
    relaxedDurability: e.BERTH_RELAXED_DURABILITY,
    stopCells: e.BERTH_STOP_CELLS,
    assertions: e.BERTH_ASSERTIONS,
    usageUrl: e.BERTH_USAGE_URL?.replace(/\/$/, '') ?? null,
    cellCapacity: e.BERTH_CELL_CAPACITY,
    overcommitPercent: e.BERTH_OVERCOMMIT_PERCENT,
    shapeDrivers: shapeDriversOf(e.BERTH_SHAPE_DRIVERS),
    terraform: terraformOf(e, given),
    landingAccess: e.BERTH_LANDING_ACCESS ?? (e.AZURE_SIGN_IN_CLIENT_ID ? 'signed_in' : 'first_visit'),
    successorHoldMs: e.BERTH_SUCCESSOR_HOLD_MINUTES * 60_000,
    exportGraceDays: e.BERTH_EXPORT_GRACE_DAYS ?? null,
    driftMinutes: e.BERTH_DRIFT_MINUTES,
    usageRates: usageRatesOf(e.BERTH_USAGE_RATES),
    implausibleTimes: e.BERTH_IMPLAUSIBLE_TIMES,
    sampleDays: e.BERTH_SAMPLE_DAYS,
    journalDays: e.BERTH_JOURNAL_DAYS,
    conformanceDays: e.BERTH_CONFORMANCE_DAYS,
    sandboxUrl: sandbox,
    azure: azureOf(e, given, sandbox),
    gcp: gcpOf(e, given, sandbox),
    aws: awsOf(e, given, sandbox, e.BERTH_PUBLIC_URL?.replace(/\/$/, '') ?? null),
  };
}

/** Settings that belong together: all of a group, or none to not sell there. */
const GROUPS: Record<string, readonly string[]> = {
  Azure: ['AZURE_TENANT_ID', 'AZURE_CLIENT_ID', 'AZURE_CLIENT_SECRET'],
  'Google Cloud': ['GCP_PROVIDER_ID', 'GCP_PROJECT_ID', 'GCP_SUBSCRIPTION', 'GCP_SERVICE_NAME', 'GCP_AUDIENCES'],
};
const ENDPOINTS = ['BERTH_SANDBOX_URL', ...AZURE_ENDPOINTS, ...GCP_ENDPOINTS, ...AWS_ENDPOINTS];

/** What one setting alone cannot tell. Unreadable URLs are the schema's to report. */
function faultsAcross(given: Given): string[] {
  const faults: string[] = [];
  if (given['BERTH_SANDBOX_URL']) {
    for (const name of ENDPOINTS) {
      const url = given[name]?.replace(/^(?![a-z]+:\/\/)/i, 'tcp://');
      if (url && URL.canParse(url) && !isLoopbackName(new URL(url).hostname)) {
        faults.push(
          `${name} is not on this machine, and BERTH_SANDBOX_URL, which makes time move, is refused unless every marketplace endpoint is (unset BERTH_SANDBOX_URL, or point every endpoint at 127.0.0.1)`,
        );
      }
    }
  }
  for (const [seller, names] of Object.entries(GROUPS)) {
    const missing = names.filter((name) => !given[name]);
    if (missing.length > 0 && missing.length < names.length)
      faults.push(`${missing.join(' and ')} missing: ${names.join(', ')} belong together (set all, or none to not sell on ${seller})`);
  }
  if (given['BERTH_LANDING_ACCESS'] === 'signed_in' && !given['AZURE_SIGN_IN_CLIENT_ID'])
    faults.push(
      'BERTH_LANDING_ACCESS is signed_in and nobody can sign in (set AZURE_SIGN_IN_CLIENT_ID and AZURE_SIGN_IN_CLIENT_SECRET, or choose approval)',
    );
  faults.push(
    ...gcpFaults(given),
    ...azureFaults(given),
    ...awsFaults(given),
    ...trustedProxyFaults(given['BERTH_TRUSTED_PROXIES']),
    ...usageRateFaults(given['BERTH_USAGE_RATES']),
    ...shapeDriverFaults(given['BERTH_SHAPE_DRIVERS']),
  );
  return faults;
}

/** Without BERTH_SECRET the installation keeps one of its own beside its data; losing it loses every sealed value. */
function keptSecret(dataDir: string): string {
  const file = join(dataDir, 'secret');
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o755 });
    const secret = randomBytes(32).toString('base64url');
    writeFileSync(file, `${secret}\n`, { mode: 0o600, flag: 'wx' });
    return secret;
  } catch (error) {
    if ((error as { code?: string }).code === 'EEXIST') return readFileSync(file, 'utf8').trim();
    throw new ConfigError(
      `the data folder ${dataDir} cannot be written (${(error as Error).message}). Set BERTH_DATA to a folder of yours`,
    );
  }
}
