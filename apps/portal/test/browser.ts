import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium, type Browser } from 'playwright-core';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const repository = fileURLToPath(new URL('../../..', import.meta.url));

export async function startBrowser(): Promise<Browser> {
  const executablePath = CHROMIUM.find((path) => existsSync(path));
  if (!executablePath)
    throw new Error(`The browser test needs Chromium at ${CHROMIUM.join(' or ')}: install the package "chromium". It is never skipped.`);
  const quiet = ['--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', ...quiet] });
}

/** Builds the portal from its source into a directory of its own, so that no stale build is ever tested. */
export async function buildPortal(): Promise<string> {
  const outDir = await mkdtemp(join(tmpdir(), 'berth-portal-'));
  const vite = join(repository, 'node_modules/vite/bin/vite.js');
  const config = join(repository, 'apps/portal/vite.config.ts');
  await promisify(execFile)(process.execPath, [vite, 'build', '-c', config, '--outDir', outDir, '--emptyOutDir', '--logLevel', 'error'], {
    cwd: repository,
    // Vitest's NODE_ENV would build React's development version.
    env: { ...process.env, NODE_ENV: 'production' },
  });
  return outDir;
}
