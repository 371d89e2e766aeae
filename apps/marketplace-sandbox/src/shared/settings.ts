import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { awsSettingsSchema } from '../aws/settings.js';
import { azureSettingsSchema } from '../azure/settings.js';
import { StartUpError } from '../config.js';
import { gcpSettingsSchema } from '../gcp/settings.js';
import { ControlError } from './http.js';
import type { Store, Table } from './store.js';

const settingsSchema = z.strictObject({
  aws: awsSettingsSchema.prefault({}),
  azure: azureSettingsSchema,
  gcp: gcpSettingsSchema.optional(),
});
export type SandboxSettings = z.output<typeof settingsSchema>;

type Tree = Record<string, unknown>;

/** The settings file, with what was PUT since laid over it. The overlay is durable; the file may still change. */
export class Settings {
  private readonly overlay: Table<Tree>;
  private readonly base: Tree;
  private merged: SandboxSettings;

  constructor(path: string, store: Store) {
    this.overlay = store.table<Tree>('settings');
    try {
      this.base = parse(readFileSync(path, 'utf8')) as Tree;
    } catch (error) {
      throw new StartUpError(
        `The settings file ${path} cannot be read (${(error as Error).message.split('\n')[0]}); correct SANDBOX_SETTINGS or the file`,
      );
    }
    const result = settingsSchema.safeParse(merge(this.base, this.overlay.get('overlay') ?? {}));
    if (!result.success) throw new StartUpError(`The settings file ${path} is not valid (${firstIssue(result.error)}); correct it`);
    this.merged = result.data;
  }

  get current(): SandboxSettings {
    return this.merged;
  }

  /** Objects are merged; lists and plain values are replaced. */
  put(change: unknown): SandboxSettings {
    if (!isTree(change)) throw new ControlError(400, 'settings.invalid', 'Send a JSON object.');
    const overlay = merge(this.overlay.get('overlay') ?? {}, change);
    const result = settingsSchema.safeParse(merge(this.base, overlay));
    if (!result.success) throw new ControlError(400, 'settings.invalid', firstIssue(result.error));
    this.overlay.put('overlay', overlay);
    this.merged = result.data;
    return this.merged;
  }
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  return `${issue?.path.join('.') || 'settings'}: ${issue?.message ?? 'invalid'}`;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function merge(base: Tree, change: Tree): Tree {
  const result: Tree = { ...base };
  for (const [key, value] of Object.entries(change)) {
    if (key === '__proto__') continue;
    const old = result[key];
    result[key] = isTree(old) && isTree(value) ? merge(old, value) : value;
  }
  return result;
}
