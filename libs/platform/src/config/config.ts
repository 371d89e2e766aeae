import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { isLoopbackName } from '../http/guarded-http.js';
import { projectRoot } from '../project-root.js';

const flag = z.enum(['true', 'false', '1', '0']).transform((v) => v === 'true' || v === '1');
const url = z.url();

const schema = z.object({
  BERTH_DATA: z.string().default(join(projectRoot(), '.berth')),
  BERTH_ROLE: z.enum(['api', 'worker', 'all']).default('all'),
  BERTH_HOST: z.string().default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65_535).default(4000),
  BERTH_PUBLIC_URL: url.optional(),
  BERTH_SECRET: z.string().min(16, 'must have at least 16 characters').optional(),
  BERTH_CATALOG: z.string().default(join(projectRoot(), 'catalog')),
  BERTH_LOG: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  DATABASE_URL: url.optional(),
  REDIS_URL: url.optional(),
  BERTH_REDIS: z.enum(['auto', 'off']).default('auto'),
  BERTH_RELAXED_DURABILITY: flag.default(false),
  /** Development only: one sandbox plays every marketplace and owns the clock. */
  BERTH_SANDBOX_URL: url.optional(),
  AZURE_MARKETPLACE_URL: url.default('https://marketplaceapi.microsoft.com/api'),
  AZURE_AUTHORITY_URL: url.default('https://login.microsoftonline.com'),
  AZURE_TENANT_ID: z.string().optional(),
  AZURE_CLIENT_ID: z.string().optional(),
  AZURE_CLIENT_SECRET: z.string().optional(),
  GCP_PROVIDER_ID: z.string().optional(),
  GCP_SETTINGS: z.string().optional(),
  AWS_MARKETPLACE_SETTINGS: z.string().optional(),
  AWS_WEBHOOK_SECRET: z.string().min(16).optional(),
});

export interface BerthConfig {
  dataDir: string;
  role: 'api' | 'worker' | 'all';
  host: string;
  port: number;
  publicUrl: string | null;
  secret: string;
  catalogDir: string;
  logLevel: string;
  databaseUrl: string | null;
  redisUrl: string | null;
  redisAuto: boolean;
  relaxedDurability: boolean;
  sandboxUrl: string | null;
  azure: { apiUrl: string; authorityUrl: string; tenantId: string; clientId: string; clientSecret: string } | null;
  /** Raw settings of the other adapters, parsed by their own schemas. */
  environment: Record<string, string>;
}

/** A wrong setting: one line with the cause and the remedy, for a person at a terminal. */
export class ConfigError extends Error {}

/** Reads and checks the whole environment at once, before anything starts. All faults are told together. */
export function loadConfig(env: Record<string, string | undefined> = process.env): BerthConfig {
  const given = Object.fromEntries(Object.entries(env).filter(([, v]) => v !== undefined && v !== ''));
  const parsed = schema.safeParse(given);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((i) => `${i.path.join('.')} ${i.message}`).join('; ');
    throw new ConfigError(`wrong setting: ${faults}. Correct the environment variable${parsed.error.issues.length > 1 ? 's' : ''} and start again (docs/guides/settings.md lists them all)`);
  }
  const e = parsed.data;
  const sandbox = e.BERTH_SANDBOX_URL?.replace(/\/$/, '') ?? null;
  if (sandbox) {
    const outside = [sandbox, given['AZURE_MARKETPLACE_URL'], given['AZURE_AUTHORITY_URL']].find((u) => u && !isLoopbackName(new URL(u).hostname));
    if (outside) throw new ConfigError(`BERTH_SANDBOX_URL makes time move: it is refused unless every marketplace endpoint is on this machine, and ${outside} is not. Unset BERTH_SANDBOX_URL, or point every endpoint at 127.0.0.1`);
  }
  const dataDir = resolve(e.BERTH_DATA);
  const azureUrl = given['AZURE_MARKETPLACE_URL'] ?? (sandbox ? `${sandbox}/azure/api` : e.AZURE_MARKETPLACE_URL);
  const authorityUrl = given['AZURE_AUTHORITY_URL'] ?? (sandbox ? `${sandbox}/azure/login` : e.AZURE_AUTHORITY_URL);
  const azureGiven = [e.AZURE_TENANT_ID, e.AZURE_CLIENT_ID, e.AZURE_CLIENT_SECRET].filter(Boolean).length;
  if (azureGiven > 0 && azureGiven < 3) throw new ConfigError('wrong setting: AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET belong together. Set all three, or none to sell on Azure not at all');
  return {
    dataDir,
    role: e.BERTH_ROLE,
    host: e.BERTH_HOST,
    port: e.PORT,
    publicUrl: e.BERTH_PUBLIC_URL?.replace(/\/$/, '') ?? null,
    secret: e.BERTH_SECRET ?? keptSecret(dataDir),
    catalogDir: resolve(e.BERTH_CATALOG),
    logLevel: e.BERTH_LOG,
    databaseUrl: e.DATABASE_URL ?? null,
    redisUrl: e.REDIS_URL ?? null,
    redisAuto: e.BERTH_REDIS === 'auto',
    relaxedDurability: e.BERTH_RELAXED_DURABILITY,
    sandboxUrl: sandbox,
    azure: azureGiven === 3 ? { apiUrl: azureUrl, authorityUrl, tenantId: e.AZURE_TENANT_ID!, clientId: e.AZURE_CLIENT_ID!, clientSecret: e.AZURE_CLIENT_SECRET! } : null,
    environment: given as Record<string, string>,
  };
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
    throw new ConfigError(`the data folder ${dataDir} cannot be written (${(error as Error).message}). Set BERTH_DATA to a folder of yours`);
  }
}
