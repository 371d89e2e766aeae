import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSandbox, type Sandbox, type SandboxOptions } from '../../src/server.js';

export const SETTINGS_PATH = fileURLToPath(new URL('./settings.yaml', import.meta.url));
export const TENANT = '7b1d2c54-3a0e-4f6b-9c11-5f0e8a4d2b90';
export const CLIENT = 'c2a5e0f3-64b7-4d19-8e2a-1b9f7c3d5a68';
export const MARKETPLACE = '20e940b3-4c77-4b0b-9a53-9e16a1b010a7';
export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // Wire bodies are read as they come.
  json: any;
}

export interface CallOptions {
  method?: string;
  body?: unknown;
  /** Sent as it is. */
  text?: string;
  headers?: Record<string, string>;
}

export async function call(url: string, options: CallOptions = {}): Promise<Answer> {
  const body = options.text ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  const response = await fetch(url, {
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...options.headers },
    body,
  });
  const text = await response.text();
  let json: unknown;
  try {
    json = text ? JSON.parse(text) : undefined;
  } catch {
    json = undefined;
  }
  return { status: response.status, headers: response.headers, text, json };
}

/** Asks until the answer is there; another process or socket is at work. */
export async function eventually<T>(ask: () => Promise<T | undefined | false> | T | undefined | false, withinMs = 5000): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > end) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function tempFolder(): string {
  return mkdtempSync(join(tmpdir(), 'marketplace-sandbox-'));
}

/** The sandbox as its users see it: a URL. */
export class Wire {
  private bearer: string | undefined;

  constructor(readonly url: string) {}

  control(path: string, options?: CallOptions): Promise<Answer> {
    return call(`${this.url}/sandbox${path}`, options);
  }

  tokenForm(form: Record<string, string>, tenant = TENANT, version = '/v2.0'): Promise<Answer> {
    return call(`${this.url}/azure/login/${tenant}/oauth2${version}/token`, {
      text: new URLSearchParams(form).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
  }

  async token(clientId = CLIENT, clientSecret = 'right-secret', tenant = TENANT): Promise<string> {
    const answer = await this.tokenForm(
      { grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret, scope: `${MARKETPLACE}/.default` },
      tenant,
    );
    return answer.json.access_token as string;
  }

  /** A call of the marketplace API with a good token and version, unless told otherwise. */
  async api(path: string, options: CallOptions & { token?: string | null; version?: string | null } = {}): Promise<Answer> {
    this.bearer ??= await this.token();
    const token = options.token === undefined ? this.bearer : options.token;
    const version = options.version === undefined ? '2018-08-31' : options.version;
    const query = version === null ? '' : `${path.includes('?') ? '&' : '?'}api-version=${version}`;
    return call(`${this.url}/azure/api${path}${query}`, {
      ...options,
      headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...options.headers },
    });
  }

  async purchase(extra: object = {}): Promise<{ subscriptionId: string; landingUrl: string; token: string; tokenExpiresAt: string }> {
    const answer = await this.control('/azure/purchases', { body: { offerId: 'object-cells', planId: 'standard', ...extra } });
    if (answer.status !== 201) throw new Error(`purchase: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  /** Bought and activated by us. */
  async subscribed(extra: { planId?: string; offerId?: string; quantity?: number } = {}): Promise<string> {
    const { subscriptionId } = await this.purchase(extra);
    const answer = await this.api(`/saas/subscriptions/${subscriptionId}/activate`, {
      body: { planId: extra.planId ?? 'standard', quantity: extra.quantity ?? '' },
    });
    if (answer.status !== 200) throw new Error(`activate: ${answer.status} ${answer.text}`);
    return subscriptionId;
  }

  act(id: string, action: string, body: object = {}): Promise<Answer> {
    return this.control(`/azure/subscriptions/${id}/${action}`, { body });
  }

  async view(id: string): Promise<any> {
    return (await this.control(`/azure/subscriptions/${id}`)).json;
  }

  async now(): Promise<number> {
    return Date.parse((await this.control('/clock')).json.now as string);
  }

  /** One step, so that timers see one jump. */
  async advance(seconds: number, stepSeconds = seconds): Promise<Answer> {
    return this.control('/clock/advance', { body: { seconds, stepSeconds } });
  }

  settings(azure: object): Promise<Answer> {
    return this.control('/settings', { method: 'PUT', body: { azure } });
  }

  usage(resourceId: string, startMs: number, extra: object = {}): Record<string, unknown> {
    return {
      resourceId,
      quantity: 5,
      dimension: 'gib_hours_stored',
      effectiveStartTime: new Date(startMs).toISOString(),
      planId: 'standard',
      ...extra,
    };
  }
}

export interface Running extends Wire {
  sandbox: Sandbox;
  stop(): Promise<void>;
}

export async function startSandbox(options: { dataFolder?: string; settingsPath?: string } & SandboxOptions = {}): Promise<Running> {
  const sandbox = await buildSandbox(
    { host: '127.0.0.1', port: 0, settingsPath: options.settingsPath ?? SETTINGS_PATH, dataFolder: options.dataFolder },
    options,
  );
  const wire = new Wire(await sandbox.listen());
  return Object.assign(wire, { sandbox, stop: () => sandbox.close() });
}
