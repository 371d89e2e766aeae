import type { ReadableStream } from 'node:stream/web';
import { apiSettings } from './config.js';

/** What ends a command: a sentence for a person, and the exit code. */
export class Refused extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
    /** Of the problem document, where the control plane refused. */
    readonly code: string | null = null,
  ) {
    super(message);
  }
}

const SILENCE_MS = 60_000;

/** The control plane's REST API with the operator's key of the environment. */
export class Api {
  private constructor(
    private readonly url: string,
    private readonly key: string,
  ) {}

  static fromEnvironment(): Api {
    const settings = apiSettings();
    if (!settings)
      throw new Refused('no operator key: set BERTH_KEY, or BERTH_DATA to the folder that holds operator.key (docs/guides/settings.md)', 2);
    return new Api(settings.url, settings.key);
  }

  async json<T>(path: string, query: Record<string, string | undefined> = {}, body?: unknown): Promise<T> {
    return (await (await this.ask(path, query, body)).json()) as T;
  }

  async text(path: string, query: Record<string, string | undefined> = {}): Promise<string> {
    return (await this.ask(path, query)).text();
  }

  /** The body as it comes; nothing is gathered. */
  async stream(path: string, query: Record<string, string | undefined> = {}): Promise<ReadableStream<Uint8Array>> {
    const { body } = await this.ask(path, query, undefined, null);
    if (!body) throw new Refused('the control plane sent nothing', 1);
    return body as ReadableStream<Uint8Array>;
  }

  private async ask(
    path: string,
    query: Record<string, string | undefined>,
    body?: unknown,
    silenceMs: number | null = SILENCE_MS,
  ): Promise<Response> {
    const url = new URL(`${this.url}/api/v1/${path}`);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
    let answer: Response;
    try {
      answer = await fetch(url, {
        method: body === undefined ? 'GET' : 'POST',
        redirect: 'error',
        headers: { authorization: `Bearer ${this.key}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(silenceMs === null ? {} : { signal: AbortSignal.timeout(silenceMs) }),
      });
    } catch (error) {
      throw new Refused(`the control plane at ${this.url} does not answer (${(error as Error).message}); is BERTH_URL right?`, 2);
    }
    if (answer.ok) return answer;
    const problem = (await answer.json().catch(() => ({}))) as {
      code?: string;
      detail?: string;
      errors?: { field: string; message: string }[];
    };
    const fields = (problem.errors ?? []).map((e) => `; ${e.field}: ${e.message}`).join('');
    const what = problem.detail ?? `the control plane answered ${answer.status}`;
    throw new Refused(`${what}${fields} (${problem.code ?? answer.status})`, 1, problem.code ?? null);
  }
}
