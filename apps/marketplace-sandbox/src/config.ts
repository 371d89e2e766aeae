import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface SandboxConfig {
  readonly host: string;
  readonly port: number;
  /** Port of Pub/Sub (gRPC); 0, or unset, takes a free one. */
  readonly pubsubPort?: number;
  readonly settingsPath: string;
  /** Folder for durable state; undefined keeps everything in memory. */
  readonly dataFolder?: string;
  /** Of faults with a rate and no seed of their own; one is made up when it is not told. */
  readonly seed?: string;
}

/** A start-up fault that a person can mend: one line, cause and remedy. */
export class StartUpError extends Error {}

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1']);
const DEMO_SETTINGS = 'apps/marketplace-sandbox/settings/demo.yaml';

export function isLoopbackHost(host: string): boolean {
  return LOOPBACK.has(host.replace(/^\[|\]$/g, ''));
}

/** The sandbox plays marketplaces on this machine only: it never calls, or sends a browser, elsewhere. */
export function isLoopbackUrl(text: string): boolean {
  try {
    const url = new URL(text);
    return (url.protocol === 'http:' || url.protocol === 'https:') && isLoopbackHost(url.hostname);
  } catch {
    return false;
  }
}

/** Works from source and from dist: both lie below the repository's root. */
function findDemoSettings(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const candidate = join(folder, DEMO_SETTINGS);
    if (existsSync(candidate)) return candidate;
    const parent = dirname(folder);
    if (parent === folder)
      throw new StartUpError(`${DEMO_SETTINGS} was not found above the program; set SANDBOX_SETTINGS to a settings file`);
    folder = parent;
  }
}

export function readConfig(env: NodeJS.ProcessEnv): SandboxConfig {
  const host = env['SANDBOX_HOST'] || '127.0.0.1';
  if (!isLoopbackHost(host)) {
    throw new StartUpError(`SANDBOX_HOST=${host} is not a loopback address: the sandbox has no access control; use 127.0.0.1`);
  }
  const port = portOf(env, 'SANDBOX_PORT', '4010');
  const pubsubPort = portOf(env, 'SANDBOX_PUBSUB_PORT', '0');
  return {
    host,
    port,
    pubsubPort,
    settingsPath: env['SANDBOX_SETTINGS'] || findDemoSettings(),
    dataFolder: env['SANDBOX_DATA'] || undefined,
    seed: env['SANDBOX_SEED'] || randomSeed(),
  };
}

export function randomSeed(): string {
  return randomBytes(6).toString('hex');
}

function portOf(env: NodeJS.ProcessEnv, name: string, preset: string): number {
  const text = env[name] || preset;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65535) {
    throw new StartUpError(`${name}=${text} is not a port: use 0 (any free port) to 65535`);
  }
  return port;
}
