import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Settings are read by the program that is started; this hands them on. AWS's client warns about Node 20 unless told not to. */
export const childEnvironment = (): Record<string, string | undefined> => ({
  ...process.env,
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
});

export interface ApiSettings {
  url: string;
  key: string;
}

/** Where the control plane is and who asks: BERTH_URL, and BERTH_KEY or the first operator's key file. Null without a key. */
export function apiSettings(): ApiSettings | null {
  const url = (process.env['BERTH_URL'] ?? 'http://127.0.0.1:4000').replace(/\/+$/, '');
  const file = join(process.env['BERTH_DATA'] ?? '.berth', 'operator.key');
  const key = process.env['BERTH_KEY'] ?? (existsSync(file) ? readFileSync(file, 'utf8') : '');
  return key.trim() === '' ? null : { url, key: key.trim() };
}
